"""A way through README and the guide, as a person types it: every command in its turn, at small size, in one folder.

What costs too much or needs the network is only parsed (`test_commands.py`).
"""

import gzip
import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForPreTraining

from tests import prose
from tests.commands import give
from tests.guide.pages import ROOT, blocks, commands
from tests.training import last, metrics, one_thread  # noqa: F401 - a fixture

# What is added to a command, or put in place of what it says, so that it takes a second.
FEWER = {
    "prepare": {"--vocab-size": "320", "--workers": "1", "--documents": "blank-lines", "--validation": "0.05"},
    "pretrain": {
        "--steps": "4", "--batch": "4", "--length": "32", "--eval-rows": "8", "--log-every": "2", "--optim.warmup": "1",
        "--compute.compile": "False", "--compute.device": "cpu", "--system.encoder.layers": "1",
    },
    "cache": {"--length": "32", "--selections": "1", "--compute.compile": "False", "--compute.device": "cpu"},
}  # fmt: skip
FEWER_OF = {
    "electra_small": {
        "--system.encoder.hidden": "32", "--system.encoder.heads": "4", "--system.encoder.embedding": "16",
        "--system.encoder.ffn": "32",
    },
    "fast_electra_cached": {"--system.encoder.layers": ""},
    "fast_electra_from_scratch": {
        "--first.steps": "2", "--first.batch": "4", "--first.length": "32", "--first.compute.compile": "False",
        "--first.optim.warmup": "1", "--first.eval-rows": "8",
    },
}  # fmt: skip


def smaller(words: list[str]) -> list[str]:
    """A command as it is given here."""
    options = {**FEWER.get(words[1], {}), **FEWER_OF.get(words[2] if len(words) > 2 else "", {})}
    if "--tokenizer" in words:
        options.pop("--vocab-size", None)
    for name, value in options.items():
        if name in words:
            words = [*words[: words.index(name)], *words[words.index(name) + 2 :]]
        words = [*words, *([name, value] if value else [])]
    return words


@pytest.fixture
def world(tutorial: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the pages speak of: text in four forms, and the folder to work in."""
    monkeypatch.chdir(tutorial)
    texts = prose.documents(400)
    Path("my/texts").mkdir(parents=True)
    for number in range(2):
        Path(f"my/texts/{number}.txt").write_text("\n\n".join(texts[100 * number : 100 * number + 100]))
    with gzip.open("more.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps({"text": text}) + "\n" for text in texts[200:300]))
    pq.write_table(pa.table({"text": texts[300:]}), "books.parquet")
    Path("text.txt").write_text("The silent river follows the broken stone.\n")
    return tutorial


def walk(page: str, capsys: pytest.CaptureFixture[str], *which: str) -> list[str]:
    """Give the commands of a page that begin so, in their order; returns what each printed."""
    found = [words for block in blocks(ROOT / page) if block.language == "sh" for words in commands(block)]
    given = [words for words in found if any(shlex.join(words).startswith(f"electrain {one}") for one in which)]
    assert len(given) >= len(which), f"{page}: {which} are not all there any more"
    printed = []
    for words in given:
        left = give(capsys, *smaller(words)[1:])
        assert left.code == 0, f"{page}: {shlex.join(words)}\n{left.said}"
        printed.append(left.printed)
    return printed


def python(page: str, holding: str) -> dict[str, object]:
    """Run the block of Python of a page that holds a text; returns its names."""
    block = next(b for b in blocks(ROOT / page) if b.language == "python" and holding in b.text)
    names: dict[str, object] = {}
    exec(compile(block.text, str(block), "exec"), names)
    return names


@pytest.mark.usefixtures("world")
def test_readme_and_hub(capsys: pytest.CaptureFixture[str]) -> None:
    """From the corpus to the exported folder, loaded as README loads it; and what is asked of it afterwards."""
    walk("README.md", capsys, "prepare", "pretrain electra_small", "export")
    assert last(Path("runs/mine")).name == "step-000004"
    names = python("README.md", "AutoModel.from_pretrained")
    coded = names["tokenizer"]("The river.", return_tensors="pt")  # type: ignore[operator]
    assert names["model"](**coded).last_hidden_state.shape[-1] == 32  # type: ignore[operator]
    (scored,) = walk("README.md", capsys, "score")
    assert [word["word"] for word in json.loads(scored)["words"]][1] == "silent"
    python("docs/hub.md", "AutoModelForPreTraining")


@pytest.mark.usefixtures("world")
def test_own_system(capsys: pytest.CaptureFixture[str]) -> None:
    """The tutorial's file: counted, trained, gone on with, exported; and it does what its text says."""
    walk("docs/corpus.md", capsys, "prepare --corpus 'my/texts/*.txt'")
    assert len(Path("shuffled.py").read_text().splitlines()) <= 60
    walk("docs/own.md", capsys, "flops", "pretrain shuffled.py:shuffled --data", "export")
    line = metrics(Path("runs/shuffled"))[-1]
    assert 0.1 < line["replaced"] <= 0.2 + 1 / 32
    assert AutoModelForPreTraining.from_pretrained("models/shuffled").config.num_hidden_layers == 1


@pytest.mark.usefixtures("world")
def test_cached(capsys: pytest.CaptureFixture[str]) -> None:
    """The way that is recommended on a small machine."""
    walk("docs/corpus.md", capsys, "prepare --corpus 'my/texts/*.txt'")
    walk("docs/choose.md", capsys, "pretrain", "cache", "pretrain fast_electra_cached")
    assert last(Path("runs/cached")).name == "step-000004"


@pytest.mark.usefixtures("world")
def test_api_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block of the API pages, at small size."""
    page = ROOT / "docs" / "api" / "index.md"
    (block,) = [b for b in blocks(page) if b.language == "python"]
    text = block.text.replace("vocab_size=8192", 'vocab_size=320, documents="blank-lines", validation=0.05')
    small = "steps=3, batch=4, eval_rows=8, compute=replace(electra_tiny().compute, compile=False), seed=1"
    text = re.sub(r"steps=1000, seed=1", small, text)
    assert text != block.text and small in text
    exec(compile(text, str(block), "exec"), {})
    assert last(Path("runs/python")).name == "step-000003"
    AutoModelForPreTraining.from_pretrained("models/python")
