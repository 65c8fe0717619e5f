"""What is shown to a person, or kept for others: hostile text is text, and secrets are left out."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from electrain import redaction
from electrain.cli import main
from electrain.data.manifest import Source
from electrain.escaping import markdown, message
from electrain.finetune.card import card as tuned_card
from electrain.finetune.results import Result
from electrain.finetune.task import Task
from electrain.hub.card import Facts, card
from electrain.run import Record
from electrain.study.figures import Figures
from electrain.study.table import markdown as study_table
from electrain.zeroshot.pairs import read
from electrain.zeroshot.results import results, table
from tests.cache.conftest import with_tokenizer
from tests.training import ELECTRA, one_thread, tiny  # noqa: F401 - a fixture

EVIL = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/p.png)",
    "a | b | c\n# head\n\n---\n",
    "```\n</code><b>",
    "\x1b]0;title\x07\x1b[2J",
    "\u202egnp.exe",
)
TOKEN, KEY, PASSWORD = (
    "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "0123456789abcdef0123456789abcdef01234567",
    "s3cr3tpass",
)


def harmless(text: str) -> None:
    """No tag, no link, no image, no control character, in what a renderer would show."""
    bare = text.replace("\\\\", "").replace("\\[", "").replace("\\]", "").replace("\\`", "").replace("\\|", "")
    outside = bare.split("```")[::2]  # blocks of code show what they hold
    for part in outside:
        assert "<" not in part and "](" not in part and "![" not in part
    assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text


def facts(evil: str) -> Facts:
    return Facts(
        part="discriminator", family="electra", name="owner/model", parameters=1, sizes="1 layer", recipe=evil,
        steps=(1,), of_steps=2, batch=1, length=16, seed=0, command="", metrics=(1, {evil: 0.5}),
        sources=(Source(evil, 1.0, 1, 1),), documents=1, tokens=1, data_sha256=evil, machine=evil,
        versions={evil: evil},
    )  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
def test_a_model_card_shows_names_as_text(evil: str) -> None:
    text = card(facts(evil))
    front, body = text.split("---\n", 2)[1:]
    assert "alert" not in front and "evil" not in front
    harmless(body)
    rows = [line for line in body.splitlines() if line.startswith("|")]
    cells = {line.replace("\\|", "").count("|") for line in rows}
    assert cells == {5, 3} and len(rows) == 6  # two tables of a head, a rule and a row


def test_a_command_cannot_leave_its_block() -> None:
    text = card(replace(facts("x"), command="```\n<script>alert(1)</script>\n```"))
    block = text.split("The same again:")[1].split("## Data")[0].strip().split("\n")
    assert block[0] == block[-1] == "````" and "````" not in block[1:-1]


@pytest.mark.parametrize("evil", EVIL)
def test_a_fine_tuned_card_shows_labels_as_text(evil: str) -> None:
    result = Result(0, "f1", 0.5, {"dev": {"f1": 0.5}}, 1.0, 3, 1.0)
    task = mock.Mock(spec=Task, labels=(evil, "good"))
    task.name = "classify"
    text = tuned_card(task, result, evil, 3)
    harmless(text.split("---\n", 2)[2])
    assert "good" in text


@pytest.mark.parametrize("evil", [*EVIL, "[/x]", "[red]", "[link=http://evil.example]x[/link]"])
def test_tables_show_names_as_text(evil: str, tmp_path: Path) -> None:
    harmless(study_table("title", [Figures(evil, 0), Figures("electra", 1)]))
    line = json.dumps({"sentence_good": "a", "sentence_bad": "b", "UID": evil, "linguistics_term": evil})
    (tmp_path / "x.jsonl").write_text(line)
    sink = io.StringIO()
    Console(file=sink, width=200, force_terminal=False).print(
        table(results(read(str(tmp_path)), np.zeros((1, 2))), evil)
    )
    assert "\x1b" not in sink.getvalue() and "\u202e" not in sink.getvalue()
    assert evil.split("\n", maxsplit=1)[0][:8] in sink.getvalue() or not evil.isprintable() or "\n" in evil


@pytest.mark.parametrize("evil", EVIL)
def test_an_error_is_one_line_without_control(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "--corpus", f"./{evil}", "--out", "out"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("electrain: ")
    assert said == f"{message(said)}\n" and "\x1b" not in said and "\u202e" not in said


def test_names_of_ours_read_as_they_are() -> None:
    for name in ("electra_small", "my/texts/a-b.txt", "owner/data.set", "AMD EPYC, 2 threads, AVX2", "x + 1 = 2"):
        assert markdown(name) == name


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--hub-token", "abcdef"], "--hub-token '***'"),
        (["--token=abcdef", "--steps", "3"], "'--token=***' --steps 3"),
        (["--data", f"https://me:{PASSWORD}@host/x.jsonl"], "--data 'https://***@host/x.jsonl'"),
        (["--model", TOKEN], "--model '***'"),
        (["--x", KEY], "--x '***'"),
        (
            ["--cluster.setup", f"export WANDB_API_KEY={PASSWORD}; module load x"],
            "'export WANDB_API_KEY=***; module load x'",
        ),
        (["--tokenizer", "google/electra-small-discriminator"], "--tokenizer google/electra-small-discriminator"),
        (["--model", f"models/snapshots/{KEY}/x"], f"--model models/snapshots/{KEY}/x"),
        (["electra_tiny", "--steps", "10"], "electra_tiny --steps 10"),
    ],
)
def test_a_command_is_kept_without_secrets(words: list[str], kept: str) -> None:
    found = redaction.command("pretrain", words)
    assert found.startswith("electrain pretrain") and kept in found
    assert not [secret for secret in (PASSWORD, TOKEN, "abcdef ") if secret in found]


def test_values_of_secret_variables_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "plainword77")
    monkeypatch.setenv("HOME_KEYBOARD", "plainword88")
    assert redaction.text("a plainword77 b plainword88") == "a *** b plainword88"


def test_secrets_reach_no_file_and_no_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run and its export, with tokens in the environment and in the words of the command."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("WANDB_API_KEY", PASSWORD * 4)
    data, run = with_tokenizer(tmp_path / "data"), tmp_path / "run"
    settings = tiny(ELECTRA, 2, save_every=1)
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "from tests.training import ELECTRA, tiny\nfrom electrain.run import Run\n\n"
        "def mine() -> Run:\n    return tiny(ELECTRA, 2, save_every=1)\n"
    )
    words = ["pretrain", f"{recipe}:mine", "--data", str(data), "--out", str(run), "--seed", "1", "--recipe-note", "x"]
    said = ""
    for extra in (["--hub-token", TOKEN], ["--data", f"https://me:{PASSWORD}@host/{TOKEN}"]):
        with pytest.raises(SystemExit, match="2"):
            main([*words[:-2], *extra])
        captured = capsys.readouterr()
        said += captured.out + captured.err
    from electrain.train import pretrain

    secrets = ["--note", TOKEN, f"https://me:{PASSWORD}@host", PASSWORD * 4]
    command = redaction.command("pretrain", [*words[1:-2], *secrets])
    pretrain(settings, data, run, command)
    assert Record.load(run).command.count("***") == 3
    main(["export", str(run), "--out", str(tmp_path / "out")])
    captured = capsys.readouterr()
    said += captured.out + captured.err
    assert not [secret for secret in (TOKEN, PASSWORD) if secret in said]
    for folder in (run, tmp_path / "out"):
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert not [secret for secret in (TOKEN, PASSWORD) if secret.encode() in content], path
    # A run that an earlier version wrote: its card leaves the secret out as well.
    tree = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**tree, "command": f"electrain pretrain x --token {TOKEN}"}))
    shutil.rmtree(tmp_path / "out")
    main(["export", str(run), "--out", str(tmp_path / "out")])
    assert TOKEN not in (tmp_path / "out/README.md").read_text()
