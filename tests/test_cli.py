"""The command line is a contract: what it accepts, what it says, how it leaves, and the whole way through it."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import FrameType

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

import electrain
from electrain import __main__, cli
from electrain.cli import Export, Quickstart
from electrain.data.settings import Prepare
from electrain.errors import Stopped
from electrain.recipes import published
from electrain.run import Record, Run
from electrain.study.conduct import Conduct
from tests import prose
from tests.commands import Left, give
from tests.training import last, metrics, one_thread  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
SHRUNK = shlex.split(
    "--batch 8 --length 32 --eval-rows 8 --log-every 1 --optim.warmup 2 --compute.compile False --compute.device cpu "
    "--compute.dtype float32 --compute.threads 1 --system.encoder.layers 1"
)
PREPARE = shlex.split(
    "prepare --corpus texts.txt --out data --documents blank-lines --vocab-size 320 --validation 0.05 --workers 1"
)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., Left]:
    """Gives a command in this process."""
    return partial(give, capsys)


def start(*words: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Gives a command in a process of its own, as the shell does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    command = [sys.executable, "-m", "electrain", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment
    )


def finish(running: subprocess.Popen[str], code: int = 0) -> Left:
    printed, said = running.communicate(timeout=300)
    assert running.returncode == code, printed + said
    return Left(code, printed, said)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, byte by byte."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def refused(left: Left, *words: str) -> None:
    """One line that says so, exit code 2, nothing printed."""
    assert left.code == 2 and left.printed == "", left
    assert left.said.startswith("electrain: ") and left.said.count("\n") == 1 and left.said.endswith("\n"), left.said
    for word in words:
        assert word in left.said, left.said


@dataclass(frozen=True)
class Way:
    """A corpus, prepared and trained on through the command line, and what the two commands left."""

    folder: Path
    prepared: Left
    trained: Left

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    folder = tmp_path_factory.mktemp("way")
    prose.write(folder / "texts.txt", 300)
    prepared = finish(start(*PREPARE, cwd=folder))
    trained = finish(start(*pretrain("data", "run"), "--steps", 6, cwd=folder))
    return Way(folder, prepared, trained)


def pretrain(data: object, out: object) -> list[object]:
    return ["pretrain", "electra_tiny", "--data", data, "--out", out, *SHRUNK]


# --- help


def listed(text: str) -> dict[str, str]:
    """Options of a help page, and what it says about each."""
    lines = [line.strip("│╭╮╰╯─ ") for line in text.splitlines()]
    found = re.split(r"(?:^|\n)(--[a-z][\w.-]*)(?=\s)", "\n".join(lines))
    return dict(zip(found[1::2], found[2::2], strict=True))


def flags(kind: type | object) -> set[str]:
    return {"--" + field.name.replace("_", "-") for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["quickstart"], flags(Quickstart)),
        (["prepare"], flags(Prepare) - {"--cluster"} | {"--cluster.partition", "--cluster.memory-gb"}),
        (["recipes"], set()),
        (
            ["pretrain", "electra_tiny"],
            flags(Run)
            - {"--recipe", "--system", "--packing", "--optim", "--compute", "--first", "--parallel", "--trouble"}
            - {"--growth"}
            | {"--parallel.kind", "--trouble.policy", "--growth.rows", "--optimizer"}
            | {"--data", "--out", "--size", "--start-from", "--start-generator", "--system.encoder.layers"}
            | {"--system.corruptor.width", "--system.objective.places", "--optim.lr", "--compute.compile"},
        ),
        (["pretrain", "electra", "--optimizer", "muon"], {"--optim.momentum", "--optim.adam.lr"}),
        (["study", "ladder"], flags(Conduct) - {"--compute"} | {"--compute.threads", "--compute.compile"}),
        (["export"], flags(Export) - {"--run"}),
        (["flops", "bert_base"], {"--vocab-size", "--size", "--batch", "--system.corruptor.masked"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_help_lists_the_fields(
    words: list[str], expected: set[str], here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    left = here(*words, "--help")
    assert left.code == 0 and left.said == ""
    assert left.printed.startswith(f"usage: electrain {' '.join(words[:2])}")
    options = listed(left.printed)
    assert expected <= set(options) and "--recipe" not in options
    for option, text in options.items():
        said = re.sub(r"\((default|required).*", "", text.replace(",", " "))
        assert len(re.findall(r"\b[A-Za-z][a-z]+\b", said)) >= 2, f"{option} has no help: {text!r}"


@pytest.mark.parametrize("verb", ["pretrain", "flops"])
def test_help_without_a_recipe(verb: str, here: Callable[..., Left]) -> None:
    left = here(verb, "--help")
    assert left.code == 0 and f"electrain {verb} RECIPE" in left.printed and "`electrain recipes`" in left.printed


def test_the_verbs_are_listed(here: Callable[..., Left]) -> None:
    left = here("--help")
    assert left.code == 0
    assert re.findall(r"^  (\w+) +\w", left.printed, re.MULTILINE) == list(cli.VERBS) == list(cli._CALLS)
    assert here() == dataclasses.replace(left, code=2)


def test_version(here: Callable[..., Left]) -> None:
    assert here("--version") == Left(0, f"{electrain.__version__}\n", "")


# --- bad input


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pretrian", ["no verb 'pretrian'; did you mean pretrain? choose one of"]),
        ("fly", ["no verb 'fly'", "quickstart, prepare, recipes", "score, similarity, inspect"]),
        (
            "quickstart --outt X",
            ["Unrecognized options: --outt, X; for --outt, did you mean --out? `electrain quickstart --help`"],
        ),
        ("recipes electra_tiny", ["Unrecognized options: electra_tiny"]),
        ("prepare", ["missing: --corpus, --out", "`electrain prepare --help`"]),
        ("prepare --corpus A", ["missing: --out;"]),
        ("prepare --corpus A --out B --engine cloud", ["invalid choice 'cloud'", "'local', 'slurm', 'ray'"]),
        ("prepare --corpus A --out B --workers many", ["--workers", "'many'"]),
        ("prepare --corpus absent.txt --out B", ["absent.txt"]),
        ("pretrain", ["name a recipe first", "`electrain recipes`"]),
        ("pretrain --data A", ["name a recipe first"]),
        ("pretrain electra_smal --data A --out B", ["no recipe 'electra_smal'", "electra_small,"]),
        ("pretrain electra-small --data A", ["no recipe 'electra-small'; did you mean electra_small? choose one of"]),
        ("pretrain absent.py:mine --data A --out B", ["absent.py: no Python file"]),
        ("pretrain electra_tiny", ["missing: --data, --out; `electrain pretrain electra_tiny --help`"]),
        ("pretrain electra_tiny --data A", ["missing: --out;"]),
        ("pretrain electra_tiny --data A --out B", ["A/manifest.json: no such file", "electrain prepare --out A"]),
        ("pretrain electra_tiny --data A --out B --stepz 4", ["Unrecognized options: --stepz, 4", "mean --steps?"]),
        ("pretrain electra_tiny --data A --out B --lr=1e-3", ["--lr=1e-3; for --lr, did you mean --optim.lr? `"]),
        (
            "pretrain electra_decoupled --data A --out B --lr 1",
            ["mean --optim.discriminator.lr or --optim.generator.lr?"],
        ),
        ("pretrain electra_tiny --data A --out B --save_every 1 --optim.wamup 3", ["mean --optim.warmup?"]),
        ("pretrain electra_tiny --data A --out B --qqqqqq 3", ["Unrecognized options: --qqqqqq, 3; `electrain"]),
        ("pretrain electra_tiny --data A --out B --recipe mine", ["Unrecognized options: --recipe, mine"]),
        ("pretrain electra_tiny --data A --out B --steps", ["Missing value", "--steps"]),
        ("pretrain electra_tiny --data A --out B --steps four", ["--steps", "'four'"]),
        ("pretrain electra_tiny --data A --out B --steps 0", ["steps is 0; choose 1 or more"]),
        ("pretrain electra_tiny --data A --out B --save-minutes -1", ["save_minutes is -1"]),
        ("pretrain electra_tiny --data A --out B --seed 99999999999999999999", ["seed is 999", "64 bits"]),
        ("pretrain electra_tiny --data A --out B --batch 10 --accumulate 3", ["10 is not a multiple of accumulate 3"]),
        ("pretrain electra_tiny --data A --out B --length 129", ["length is 129", "128 positions"]),
        ("pretrain electra_tiny --data A --out B --track excel", ["invalid choice 'excel'", "tensorboard"]),
        ("pretrain electra_tiny --data A --out B --compute.device tpu", ["invalid choice 'tpu'"]),
        ("pretrain electra_tiny --data A --out B --compute.compile perhaps", ["perhaps", "--compute.compile"]),
        ("pretrain electra_tiny --data A --out B --compute.threads -2", ["threads is -2"]),
        (
            "pretrain electra_tiny --data A --out B --system.encoder.heads 3",
            ["hidden 128 is not a multiple of heads 3"],
        ),
        ("pretrain electra_tiny --data A --out B --system.encoder.heads 0", ["heads is 0; choose 1 or more"]),
        ("pretrain electra_tiny --data A --out B --system.encoder.dropout 1", ["dropout is 1.0"]),
        ("pretrain electra_tiny --data A --out B --system.corruptor.rate 15", ["rate is 15.0", "share"]),
        ("pretrain electra_tiny --data A --out B --optim.lr nan", ["lr is nan"]),
        ("pretrain electra_tiny --data A --out B --optim.betas 0.9 1.5", ["betas are 0.9 and 1.5"]),
        ("pretrain electra_tiny --data A --out B --optim.clip -1", ["clip is -1.0"]),
        ("export", ["missing: --run, --out"]),
        ("export absent --out B", ["absent/run.json: there is none", "electrain pretrain --out"]),
        ("export absent --out B --part body", ["invalid choice 'body'"]),
        ("export absent --out B --code absent.py", ["absent.py: no Python file"]),
        ("flops", ["electrain flops: name a recipe first"]),
        ("flops bert_base --vocab-size 0", ["--vocab-size 0"]),
        ("flops electra_small --system.corruptor.width 0.3", ["generator of hidden 77", "head size 64", "0.25 or 0.5"]),
    ],
)
def test_bad_input_gets_one_line(
    line: str, words: list[str], here: Callable[..., Left], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    refused(here(*line.split()), *words)
    assert not list(tmp_path.iterdir())


def test_bad_options_look_alike_on_every_terminal(here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch) -> None:
    """However tyro draws its boxes: with lines or, where the encoding has none, with dashes; in any width."""
    said = set()
    for lines in (True, False):
        monkeypatch.setattr("tyro._fmtlib._should_use_utf8_drawing_chars", lambda lines=lines: lines)
        for width in ("40", "80", "200"):
            monkeypatch.setenv("COLUMNS", width)
            said.add((here("export").said, here("export", "A", "--out", "B", "--part", "body").said))
    assert len(said) == 1
    refused(Left(2, "", said.pop()[0]), "missing: --run, --out; `electrain export --help` lists the options")


def test_a_message_of_several_lines_is_told_in_one(here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_: Sequence[str]) -> None:
        raise electrain.errors.UserError("one\ntwo")  # type: ignore[attr-defined]

    monkeypatch.setitem(cli._CALLS, "flops", bad)
    assert here("flops") == Left(2, "", "electrain: one two\n")


def test_pretrain_touches_nothing_that_is_not_its_own(
    way: Way, here: Callable[..., Left], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    (mine / "deep").mkdir(parents=True)
    (mine / "deep" / "thesis.txt").write_bytes(b"\x00mine\n")
    (tmp_path / "file").write_text("a file")
    before = contents(tmp_path)
    refused(here(*pretrain(way.data, mine)), "mine: holds other files", "--out")
    refused(here(*pretrain(way.data, "file")), "file: holds other files")
    refused(here(*pretrain(way.data, "file/below")), "file/below: cannot be written to (Not a directory)")
    refused(here(*pretrain(mine, "new")), "mine/manifest.json: no such file")
    refused(here(*pretrain("file", "new")), "file: a file, not the folder that `electrain prepare` made")
    refused(here("export", mine, "--out", "new"), "mine/run.json: there is none")
    refused(here("export", "file", "--out", "new"), "file/run.json: there is none; name the folder")
    refused(here("export", way.run, "--out", mine), "mine: holds files that are no export")
    words = ("export", way.run, "--out", tmp_path / "other", "--checkpoint", "newest")
    refused(here(*words), "--checkpoint newest: choose best, latest")
    refused(here("quickstart", "--out", mine), "mine: holds other files")
    refused(here("prepare", "--corpus", "file", "--out", mine), "mine is not empty")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--length 200", ["length is 200", "128 positions"]),
        ("--length 2", ["length 2 has no place for text"]),
        ("--system.encoder.positions 64 --length 65", ["length is 65", "64 positions"]),
        ("--system.corruptor.width 0.3", ["generator of hidden 38", "head size 32", "choose width 0.25 or 0.5"]),
        ("--system.corruptor.width 0", ["leave no generator"]),
        ("--system.corruptor.tying all", ["needs a generator of the same size"]),
        ("--start-from nowhere", ["nowhere: "]),
        ("--start-generator nowhere", ["nowhere: "]),
        ("--compute.device cuda", ["finds no GPU"]),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    options: str, words: list[str], way: Way, here: Callable[..., Left], tmp_path: Path
) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(here(*pretrain(way.data, tmp_path / "run"), *options.split()), *words)
    assert not list(tmp_path.iterdir())


def test_other_data_and_other_settings_are_refused(way: Way, here: Callable[..., Left], tmp_path: Path) -> None:
    """Of a run in progress, and of a model to start from."""
    prose.write(tmp_path / "texts.txt", 60, seed=1)
    prepare = ["prepare", "--documents", "blank-lines", "--workers", 1, "--corpus", tmp_path / "texts.txt"]
    assert here(*prepare, "--vocab-size", 310, "--out", tmp_path / "other").code == 0
    before = contents(way.run)
    refused(here(*pretrain(tmp_path / "other", way.run), "--steps", 6), "was trained on data, which")
    refused(
        here(*pretrain(way.data, way.run), "--steps", 7, "--optim.lr", 0.1),
        "holds a run with other settings (steps: 6 -> 7; optim.lr: 0.0015 -> 0.1)",
        "start there from this run's export (--start-from, docs/start.md)",
    )
    assert contents(way.run) == before
    assert here("export", way.run, "--out", tmp_path / "model").code == 0
    left = here(*pretrain(tmp_path / "other", tmp_path / "new"), "--start-from", tmp_path / "model")
    refused(left, "model: another vocabulary (", "--tokenizer")
    left = here(*pretrain(way.data, tmp_path / "new"), "--start-from", way.run)
    refused(left, f"{way.run}: is a run; name an export of it: electrain export {way.run} --out MODEL")
    assert not (tmp_path / "new").exists()


# --- results


def test_recipes_in_a_pipe_are_a_line_each(here: Callable[..., Left]) -> None:
    left = here("recipes")
    table, _, after = left.printed.partition("\n\n")
    lines = table.splitlines()
    assert [line.split()[0] for line in lines] == list(published())
    where = {line.index(line.split(maxsplit=2)[2]) for line in lines}
    assert len(where) == 1  # what they are begins in the same column
    assert all(re.fullmatch(r"\d+\.\dM", line.split()[1]) for line in lines)
    assert all(re.search(r", 20\d\d\b|\bours\b", line) for line in lines)
    assert "electrain pretrain NAME --data DIR --out RUN" in after


def test_recipes_on_a_terminal_fit_it(here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    lines = re.sub(r"\x1b\[[\d;]*m", "", here("recipes").printed).partition("\n\n")[0].splitlines()
    assert lines[0].split() == ["recipe", "parameters", "what", "it", "is"]
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:] if line[0] != " "] == list(published())


QUICK = ("electra", "coco_lm", "electra_two_stage")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in published()]
)
def test_flops_prints_a_table_for_every_recipe(
    name: str, here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # in a pipe it is no reason to cut the tables
    small = ("--size", "tiny") if "size" in signature(published()[name]).parameters else ("--system.encoder.layers", 1)
    left = here("flops", name, "--batch", 32, *small)  # whole: tests/test_flops.py
    assert left.code == 0 and left.said == ""
    assert f"{name}: " in left.printed and "vocabulary 30,522" in left.printed
    for words in ("in training", "paper's way", "activations, at their peak"):
        assert words in left.printed
    assert "…" not in left.printed


def test_the_whole_way(way: Way, here: Callable[..., Left]) -> None:
    """prepare, pretrain, the same again, export of both, transformers: each says where, and what comes next."""
    assert re.search(r"^  where +data$", way.prepared.printed, re.MULTILINE)
    assert re.search(r"^  next +electrain pretrain electra_tiny --data data --out ", way.prepared.printed, re.MULTILINE)
    saved = Path("run/checkpoints/step-000006")
    assert way.trained.printed == f"trained: {saved}\nnext:    electrain export run --out run/export\n"
    assert "step 6/6" in way.trained.said and "step 6  held out: loss" in way.trained.said
    record = Record.load(way.run)
    assert record.run.recipe == "electra_tiny" and record.run.steps == 6 and type(record.run) is Run
    assert record.command.startswith("electrain pretrain electra_tiny --data data --out run --batch 8")
    assert [line["step"] for line in metrics(way.run) if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]

    before = contents(way.run)
    again = finish(start(*pretrain("data", "run"), "--steps", 6, cwd=way.folder))
    assert again.printed == way.trained.printed
    assert again.said == "run: all 6 steps are made, nothing to do\n"
    assert contents(way.run) == before

    for part in ("discriminator", "generator"):
        out = way.folder / "export" / part
        left = here("export", way.run, "--out", out, "--part", part)
        assert left.code == 0 and left.said == ""
        told, after = left.printed.splitlines()
        assert told == f"exported: {out}" and after.startswith("next:     python -c 'from transformers import ")
        compile(after.split("'")[1], "what it tells to run", "exec")
    discriminator = AutoModelForPreTraining.from_pretrained(way.folder / "export" / "discriminator")
    generator = AutoModelForMaskedLM.from_pretrained(way.folder / "export" / "generator")
    words = AutoTokenizer.from_pretrained(way.folder / "export" / "discriminator")
    fed = words("the silent river follows", return_tensors="pt")
    assert discriminator(**fed).logits.shape == fed["input_ids"].shape
    assert generator(**fed).logits.shape[-1] == len(words) == discriminator.config.vocab_size


def test_prepare_again_has_nothing_to_do(way: Way) -> None:
    before = contents(way.data)
    left = finish(start(*PREPARE, cwd=way.folder))
    assert left.printed.startswith("data is prepared already, with these settings; nothing to do.\n")
    assert contents(way.data) == before


def test_the_name_on_the_hub_stands_on_the_card(
    way: Way, here: Callable[..., Left], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[tuple[Path, str]] = []

    def push(folder: Path, name: str) -> str:
        pushed.append((folder, name))
        return "the address"

    monkeypatch.setattr(import_module("electrain.hub.export"), "push", push)
    left = here("export", way.run, "--out", tmp_path / "model", "--push-to-hub", "me/mine", "--checkpoint", 6)
    assert left.code == 0 and "on the Hub: the address" in left.printed
    assert pushed == [(tmp_path / "model", "me/mine")]
    assert 'from_pretrained("me/mine")' in (tmp_path / "model" / "README.md").read_text()


def test_starting_from_what_was_exported(way: Way, here: Callable[..., Left], tmp_path: Path) -> None:
    for part in ("discriminator", "generator"):
        assert here("export", way.run, "--out", tmp_path / part, "--part", part).code == 0
    both = ["--start-from", tmp_path / "discriminator", "--start-generator", tmp_path / "generator"]
    left = here(*pretrain(way.data, tmp_path / "run"), "--steps", 1, "--optim.lr", 1e-12, *both)
    assert left.code == 0 and "loaded; fresh: nothing" in left.said
    ours, theirs = metrics(way.run)[-1], metrics(tmp_path / "run")[-1]
    assert ours["kind"] == theirs["kind"] == "eval"
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)


OWN = '''
"""A recipe of one's own: the next word in the vocabulary at the selected places."""

from dataclasses import dataclass, replace

import torch

from electrain.batch import scatter, select
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.recipes.tiny import electra_tiny
from electrain.run import Run


class Next(Corruptor):
    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        rate: float = 0.2
        """Share of the tokens."""

        def build(self, vocab, encoder):
            return Next(self, vocab)

    def __init__(self, config, vocab):
        super().__init__()
        self.config, self.vocab = config, vocab

    def forward(self, batch, encoder, progress):
        picked = select(batch, self.config.rate)
        ids = scatter(batch.ids, picked, (batch.ids.gather(1, picked.index) + 1) % self.vocab.size)
        return Corrupted(ids, picked, ids != batch.ids, None, torch.zeros(()), {})


def shifted() -> Run:
    run = electra_tiny()
    return replace(run, recipe="shifted", system=replace(run.system, corruptor=Next.Config()))
'''


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The module of one's own is gone again, as in a new process."""
    path = list(sys.path)
    yield
    sys.modules.pop("own_corruptor", None)
    sys.path[:] = path


@pytest.mark.usefixtures("forgotten")
def test_a_recipe_of_ones_own(way: Way, here: Callable[..., Left], tmp_path: Path) -> None:
    """Its own corruptor too: options, run.json, going on in another process, export."""
    file, run = tmp_path / "own_corruptor.py", tmp_path / "run"
    file.write_text(OWN)
    command = ["pretrain", f"{file}:shifted", "--data", way.data, "--out", run, *SHRUNK]
    command += ["--steps", 4, "--save-every", 2, "--system.corruptor.rate", 0.3]
    assert "Share of the tokens." in here("pretrain", f"{file}:shifted", "--help").printed
    first = here(*command)
    assert first.code == 0
    tree = json.loads((run / "run.json").read_text())["run"]
    assert tree["recipe"] == "shifted"
    assert tree["system"]["corruptor"] == {"type": "own_corruptor:Next.Config", "rate": 0.3}
    whole, lines = contents(last(run)), metrics(run)
    shutil.rmtree(last(run))
    second = finish(start(*command))
    assert f"going on from {run / 'checkpoints' / 'step-000002'}" in second.said
    assert second.printed == first.printed
    assert contents(last(run)) == whole and metrics(run) == lines

    sys.modules.pop("own_corruptor")
    refused(here("export", run, "--out", tmp_path / "model"), "own_corruptor:Next.Config", "--code")
    assert here("export", run, "--out", tmp_path / "model", "--code", file).code == 0
    assert AutoModelForPreTraining.from_pretrained(tmp_path / "model").config.num_hidden_layers == 1


# --- leaving


def test_signals_save_and_say_how_to_go_on(way: Way, tmp_path: Path) -> None:
    signals = {signal.SIGINT: 130, signal.SIGTERM: 143}
    # Too many steps to end by themselves.
    running = {
        number: start(*pretrain(way.data, tmp_path / number.name), "--steps", 10**6, "--save-minutes", 0)
        for number in signals
    }
    for number, process in running.items():
        log = tmp_path / number.name / "metrics.jsonl"
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        process.send_signal(number)
    for number, process in running.items():
        left = finish(process, signals[number])
        saved = last(tmp_path / number.name)
        step = int(saved.name[5:])
        assert f"stopped at step {step}, saved in {saved}; the same command goes on from there" in left.said
        assert left.printed == "" and "Traceback" not in left.said


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "electrain: interrupted\n"),
        (Stopped(signal.SIGINT), 130, ""),
        (Stopped(signal.SIGTERM), 143, ""),
    ],
)
def test_how_a_verb_that_is_stopped_leaves(
    error: BaseException, code: int, said: str, here: Callable[..., Left], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: Sequence[str]) -> None:
        raise error

    monkeypatch.setitem(cli._CALLS, "flops", stopped)
    assert here("flops") == Left(code, "", said)


# A program whose verb `flops` is what stands in the braces; run by the interpreter as the command is.
_VERB = """
import signal, sys, time
from electrain import __main__, cli

class Late:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.001)  # where the handler's exception surfaces, inside a finalizer

def verb(_):
    {}

cli._CALLS["flops"] = verb
# A shell that starts the tests in the background has Ctrl-C ignored in all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = ["flops"]
__main__.main()
"""


@pytest.mark.parametrize(
    ("verb", "code", "said"),
    [
        ("Late(); time.sleep(600)", 130, "electrain: interrupted\n"),  # Python swallows the first
        ("import atexit; atexit.register(Late)", -signal.SIGINT, ""),
    ],
    ids=["while it runs", "at exit"],
)
def test_ctrl_c_in_a_finalizer_ends_the_command_and_shows_no_traceback(verb: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", _VERB.format(verb)]
    running = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (running.returncode, running.stderr) == (code, said)


def test_ctrl_c_that_comes_again_waits_until_it_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[tuple[float, ...]] = []
    monkeypatch.setattr(signal, "setitimer", lambda _, *seconds: armed.append(seconds))

    def here() -> FrameType:
        return sys._getframe()

    monkeypatch.setattr(__main__, "_unraisable", here)
    __main__._again(signal.SIGALRM, here())
    assert armed == [(0.01, 1.0)]
    with pytest.raises(KeyboardInterrupt):
        __main__._again(signal.SIGALRM, sys._getframe())
    assert armed[1:] == [(0,)]


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    """`electrain recipes | head -1`."""
    running = start("recipes")
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    running.stderr.close()
    assert running.wait() == 128 + signal.SIGPIPE and said == ""
