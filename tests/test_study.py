"""A study through the real command line: equal operations, killed and gone on with, table, CSV and plot."""

import csv
import io
import json
import os
import shlex
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from electrain.cli import main
from electrain.compute import Compute
from electrain.corruptors.frozen import Frozen
from electrain.data.shards import Shards
from electrain.errors import Stopped, UserError
from electrain.flops import count
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.recipes import sized
from electrain.recipes.bert import bert
from electrain.recipes.electra import electra
from electrain.recipes.sizes import TINY
from electrain.recipes.two_stage import electra_two_stage
from electrain.run import Record
from electrain.study.budget import afford, complete, operations, step_cost
from electrain.study.conduct import Conduct, conduct, judge_untrained
from electrain.study.figures import Figures, held_out, probes
from electrain.study.ladder import ladder, study
from electrain.study.table import as_csv, markdown, plot, save
from electrain.study.workers import Job, side_by_side
from electrain.system import System
from tests import prose
from tests.training import VOCAB, make_data, one_thread  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ("bert", "electra", "electra_two_stage")
STEPS = 8
PREPARE = "prepare --documents blank-lines --vocab-size 320 --validation 0.2 --workers 1"
QUICK = shlex.split(
    "--rows 20 --compute.compile False --compute.device cpu --compute.dtype float32 --compute.threads 1"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_data(tmp_path_factory.mktemp("study") / "data")
    np.save(folder / "frequencies.npy", np.r_[np.zeros(5, np.int64), np.full(VOCAB.size - 5, 25)])
    return folder


# --- equal operations


@pytest.mark.parametrize("function", ladder().recipes, ids=lambda function: function.__name__)
def test_every_recipe_of_the_ladder_gets_what_the_budget_pays_for(function: Callable, data: Path) -> None:
    budget = 40 * step_cost(electra(TINY), data, VOCAB)
    run = complete(sized(function, TINY), TINY, data)
    fitted = afford(run, budget, data, VOCAB)
    spent = operations(fitted, data, VOCAB)
    assert budget - step_cost(fitted, data, VOCAB) < spent <= budget * (1 + 1e-9)
    assert fitted.steps >= 1 and (fitted.batch, fitted.length) == (TINY.batch, TINY.length)  # the same rows in order
    if isinstance(fitted.optim, Adam) and isinstance(run.optim, Adam):
        assert fitted.optim.warmup / fitted.steps == pytest.approx(run.optim.warmup / run.steps, abs=0.5 / fitted.steps)
    if fitted.first is not None and run.first is not None:  # stages keep their shares
        shares = [operations(one.first, data, VOCAB) / operations(one, data, VOCAB) for one in (run, fitted)]
        assert shares[1] == pytest.approx(shares[0], rel=0.1)


def test_operations_are_those_of_flops(data: Path) -> None:
    run = replace(electra(TINY), steps=7)
    assert operations(run, data, VOCAB) == pytest.approx(count(run, VOCAB.size).plain_total.run)
    assert afford(electra(TINY), operations(run, data, VOCAB), data, VOCAB).steps == 7
    assert afford(electra(TINY), operations(run, data, VOCAB) * 0.999, data, VOCAB).steps == 6
    two = electra_two_stage(TINY)
    assert two.first is not None
    both = operations(two, data, VOCAB)
    assert both == operations(two.first, data, VOCAB) + two.steps * step_cost(two, data, VOCAB) > 0


def test_a_frozen_generator_that_nobody_names_is_trained_first_and_paid_for(data: Path) -> None:
    run = TINY.run("mine", System.Config(TINY.encoder, Frozen.Config(), Rtd.Config()))
    whole = complete(run, TINY, data)
    assert whole.first is not None and whole.first.steps == run.steps
    assert isinstance(whole.first.system, System.Config)
    assert whole.first.system.encoder == TINY.generator()
    assert complete(electra(TINY), TINY, data) == electra(TINY)
    fitted = afford(whole, 50 * step_cost(electra(TINY), data, VOCAB), data, VOCAB)
    assert fitted.first is not None and abs(fitted.first.steps - fitted.steps) <= 1
    assert operations(fitted, data, VOCAB) > fitted.steps * step_cost(fitted, data, VOCAB)


def test_a_budget_for_no_step_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"budget: 1e\+03 operations pay for no step of bert .*; choose a larger one"):
        afford(bert(TINY), 1e3, data, VOCAB)


# --- fresh weights


def test_fresh_weights_are_those_of_the_first_recipe_named(data: Path, tmp_path: Path) -> None:
    """A recipe of one's own may be of another shape than the size."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from electrain.recipes.electra import electra\n"
        "from electrain.recipes.sizes import TINY, Size\n"
        "from electrain.run import Run\n\n\n"
        "def wide(size: Size = TINY) -> Run:\n"
        "    encoder = replace(size.encoder, layers=1, hidden=256)\n"
        "    return replace(electra(replace(size, encoder=encoder)), recipe='wide')\n"
    )
    place, compute = f"{tmp_path / 'mine.py'}:wide", Compute(device="cpu", threads=1, compile=False)
    conduct("ladder", Conduct(data, tmp_path / "out", recipes=(place,), steps=4, seeds=1, rows=20, compute=compute))
    torch.manual_seed(0)
    encoder = replace(TINY.encoder, layers=1, hidden=256).build(VOCAB)
    expected = probes(encoder, held_out(data, electra(TINY), 20, torch.device("cpu")))
    found = Figures.load(tmp_path / "out" / "untrained-seed0" / "figures.json")
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found.steps == 0 < Figures.load(tmp_path / "out" / "wide-seed0" / "figures.json").steps


def test_fresh_weights_need_no_trained_generator(data: Path, tmp_path: Path) -> None:
    run = TINY.run("mine", System.Config(TINY.encoder, Frozen.Config(), Rtd.Config()))
    run = replace(run, compute=Compute(device="cpu", threads=1))
    judge_untrained(run, data, tmp_path / "out", 20)
    found = Figures.load(tmp_path / "out" / "figures.json")
    assert found.recipe == "untrained" and 0 < found.probe_moved < 1 and 0 < found.probe_swapped < 1


# --- bad input


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("study", ["name a study first", "ladder"]),
        ("study stairs", ["missing: --data, --out"]),
        ("study stairs --data DATA --out OUT", ["no study 'stairs'; choose one of ladder"]),
        ("study ladder --data nowhere --out OUT", ["nowhere/manifest.json: no such file"]),
        ("study ladder --data DATA --out OUT --recipes electra_smal", ["no recipe 'electra_smal'"]),
        ("study ladder --data DATA --out OUT --recipes bert electra_tiny", ["electra_tiny comes in one size"]),
        ("study ladder --data DATA --out OUT --recipes bert bert", ["bert is named twice"]),
        ("study ladder --data DATA --out OUT --size huge", ["invalid choice 'huge'"]),
        ("study ladder --data DATA --out OUT --budget 5", ["5 operations pay for no step of "]),
        ("study ladder --data DATA --out OUT --budget 1e15 --steps 5", ["--budget and --steps say the same"]),
        ("study ladder --data DATA --out OUT --rows 1024", ["fills 21 rows of 64 tokens", "a larger --validation"]),
        ("study ladder --data DATA --out OUT --seeds 0", ["seeds is 0; choose 1 or more"]),
        ("study ladder --data DATA --out OUT --workers 0", ["workers is 0"]),
        ("study ladder --data DATA --out OUT --budget nan", ["budget is nan"]),
        ("study ladder --data DATA --out mine --recipes bert", ["mine: holds other files"]),
        ("study ladder --data DATA --out mine/thesis.txt --recipes bert", ["thesis.txt: holds other files"]),
        ("pretrain electra_tiny --data DATA --out OUT --size tiny", ["electra_tiny comes in one size"]),
        ("pretrain electra --data DATA --out OUT --size huge", ["invalid choice 'huge'"]),
        ("flops electra_base --size small", ["electra_base comes in one size"]),
    ],
)
def test_bad_input_gets_one_line(
    line: str,
    words: list[str],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    line = line.replace("--data DATA", f"--data {data} --rows 20" if "study" in line else f"--data {data}")
    with pytest.raises(SystemExit) as left:
        main(line.split())
    out, said = capsys.readouterr()
    assert left.value.code == 2 and out == ""
    said = "".join(row + "\n" for row in said.splitlines() if not row.startswith("skipped: "))
    assert said.startswith("electrain: ") and said.count("\n") == 1, said
    for word in words:
        assert word in said, said
    assert sorted(str(path) for path in Path().rglob("*")) == ["mine", "mine/thesis.txt"]


def test_a_size_decides_what_the_options_stand_at(capsys: pytest.CaptureFixture) -> None:
    for words in (["--size", "tiny"], ["--size=tiny"]):
        main(["flops", "electra", *words, "--batch", "4"])
        assert f"electra: {TINY.steps:,} steps of 4 rows of {TINY.length} tokens" in capsys.readouterr().out


# --- the table


def made(recipe: str, seed: int, **values: float) -> Figures:
    return Figures(recipe, seed, **values)  # type: ignore[arg-type]


FOUND = [
    made("electra", 0, steps=60, swap_auc=0.70, probe_moved=0.60, probe_swapped=0.7),
    made("electra", 1, steps=60, swap_auc=0.80, probe_moved=0.70, probe_swapped=0.7),
    made("bert", 0, steps=64, mlm_accuracy=0.25, probe_moved=0.55, probe_swapped=0.6),
]


def test_the_table_has_mean_spread_and_every_run() -> None:
    text = markdown("ladder", FOUND)
    assert text.startswith("# ladder\n")
    common = text.partition("## On what")[0]
    assert "| electra | 2 | 0.750 ± 0.071 | – | – | 0.700 | 0.650 ± 0.071 |" in common
    assert "| bert | 1 | – | 0.250 | – | 0.600 | 0.550 |" in common
    every = text.partition("## Every run")[2]
    assert [line.split(" | ")[:3] for line in every.splitlines() if line.startswith(("| e", "| b"))] == [
        ["| electra", "0", "0.700"], ["| electra", "1", "0.800"], ["| bert", "0", "–"]
    ]  # fmt: skip


def test_the_csv_holds_the_same() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(FOUND))))
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        ("electra", "0"), ("electra", "1"), ("bert", "0"),
        ("electra", "mean"), ("electra", "sd"), ("bert", "mean"), ("bert", "sd"),
    ]  # fmt: skip
    assert float(rows[3]["swap_auc"]) == pytest.approx(0.75) and float(rows[4]["swap_auc"]) == pytest.approx(0.005**0.5)
    assert rows[2]["swap_auc"] == rows[5]["swap_auc"] == rows[6]["mlm_accuracy"] == ""
    assert float(rows[5]["mlm_accuracy"]) == 0.25


def size_of(image: bytes) -> tuple[int, int]:
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", image[16:24])


def test_the_plot_has_a_panel_a_figure_and_a_row_a_recipe() -> None:
    pytest.importorskip("matplotlib")
    few, more = plot("a", FOUND), plot("a", [*FOUND, made("third", 0, probe_moved=0.5)])
    fewer = plot("a", [made("electra", 0, probe_moved=0.5)])
    assert few is not None and more is not None and fewer is not None
    assert size_of(more)[1] > size_of(few)[1] and size_of(fewer)[0] < size_of(few)[0]


def test_without_matplotlib_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    written = save(tmp_path, "ladder", FOUND)
    assert [path.name for path in written] == ["table.md", "table.csv"] == sorted(os.listdir(tmp_path))[::-1]
    assert "no plot: matplotlib is not installed" in capsys.readouterr().err


# --- processes


def test_jobs_side_by_side_end_as_they_end(tmp_path: Path) -> None:
    jobs = [
        Job("slow", time.sleep, (3,), tmp_path / "slow.log"),
        Job("wrong", sys.exit, ("something is wrong",), tmp_path / "wrong.log"),
        Job("bad", int, ("ten",), tmp_path / "bad.log"),
    ]
    ended = {job.name: reason for job, reason in side_by_side(jobs, 2)}
    assert ended["slow"] == "" and ended["wrong"] == "something is wrong"
    assert ended["bad"] == "ValueError: invalid literal for int() with base 10: 'ten'"
    assert list(ended)[-1] != "wrong"


def test_sigterm_stops_the_jobs(tmp_path: Path) -> None:
    job = Job("slow", time.sleep, (1000,), tmp_path / "log")
    began = time.monotonic()
    with pytest.raises(Stopped):
        for _ in side_by_side([Job("quick", int, (), tmp_path / "quick"), job], 2):
            os.kill(os.getpid(), signal.SIGTERM)
    assert time.monotonic() - began < 500  # it did not sleep to its end
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


# --- the whole way


def command(data: Path, out: Path, *more: object) -> list[str]:
    words = ["study", "ladder", "--data", data, "--out", out, "--recipes", *RECIPES, "--steps", STEPS]
    return [str(word) for word in (*words, *QUICK, *more)]


def start(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "electrain", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_three_recipes_two_seeds_and_a_kill(tmp_path: Path) -> None:
    prose.write(tmp_path / "texts.txt", 300)
    data, out = tmp_path / "data", tmp_path / "out"
    main([*PREPARE.split(), "--corpus", str(tmp_path / "texts.txt"), "--out", str(data)])
    vocab = Shards.open(data).vocab
    words = command(data, out, "--seeds", 2, "--workers", 2)
    running = start(words)
    while running.poll() is None and len(list(out.glob("*/figures.json"))) < 4:
        time.sleep(0.02)
    running.kill()
    said = running.communicate()[1]
    assert running.returncode == -signal.SIGKILL, said
    early = {path: path.stat().st_mtime_ns for path in out.glob("*/figures.json")}
    assert 4 <= len(early) < 8

    running = start(words)
    printed, said = running.communicate(timeout=900)
    assert running.returncode == 0, said
    assert printed.splitlines()[:2] == [f"written: {out / 'table.md'}", f"written: {out / 'table.csv'}"]
    assert {path: path.stat().st_mtime_ns for path in early} == early  # finished ones were left alone
    assert f"{8 - len(early)} of {8 - len(early)}: " in said
    for path in early:
        assert f": {path.parent.name};" not in said

    # Equal operations within a step, the same rows in the same order, every run an ordinary run folder.
    budget = STEPS * step_cost(electra(TINY), data, vocab)
    rows = [row for row in csv.DictReader((out / "table.csv").open()) if row["seed"].isdigit()]
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        (name, s) for name in ("untrained", *RECIPES) for s in "01"
    ]
    for row in rows[2:]:
        run = Record.load(out / f"{row['recipe']}-seed{row['seed']}").run
        assert (run.batch, run.length, run.seed, run.packing) == (32, 64, int(row["seed"]), electra(TINY).packing)
        assert budget - step_cost(run, data, vocab) < float(row["operations"]) <= budget * (1 + 1e-9)
        assert float(row["operations"]) == pytest.approx(operations(run, data, vocab))
        whole = run.steps + (0 if run.first is None else run.first.steps)
        assert int(row["steps"]) == whole and int(row["tokens"]) == whole * 32 * 64
        assert float(row["tokens_per_second"]) > 0 and float(row["memory"]) > 50
        assert 0 < float(row["probe_swapped"]) < 1 and 0 < float(row["probe_moved"]) < 1
        judges = row["recipe"] != "bert"
        for name in ("rtd_auc", "rtd_loss", "swap_auc", "replaced"):
            assert bool(row[name]) == judges, (row["recipe"], name)
        assert bool(row["mlm_loss"]) == (not judges)
        log = [json.loads(line) for line in (out / f"{row['recipe']}-seed{row['seed']}" / "metrics.jsonl").open()]
        assert log[-1]["kind"] == "eval" and log[-1]["step"] == run.steps
        if judges:
            assert float(row["rtd_auc"]) == log[-1]["rtd_auc"]
            shares = [line["replaced"] for line in log if line["kind"] == "train"]
            assert float(row["replaced"]) == pytest.approx(sum(shares) / len(shares))  # a line a step
    assert not [row for row in rows[:2] if row["swap_auc"] or int(row["steps"])]
    text = (out / "table.md").read_text()
    assert text.count(" ± ") > 20 and all(f"| {name} | 2 |" in text for name in RECIPES)
    if (out / "plot.png").exists():
        assert size_of((out / "plot.png").read_bytes())[0] > 500

    # Again: nothing to do. Other settings, another study: refused, nothing touched.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")}
    for more, code, word in (
        ([], 0, "all runs are made"),
        (["--size", "small"], 2, "holds another study (size: tiny -> small"),
        (["--steps", 9], 2, "holds another study (budget: "),
        (["--compute.threads", 2], 2, "has other settings (compute.threads: 1 -> 2)"),
    ):
        running = start([*words, *map(str, more)])
        assert word in running.communicate(timeout=300)[1] and running.returncode == code
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")} == before


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_runs_that_fail_are_told_and_the_table_is_there(data: Path, tmp_path: Path) -> None:
    words = command(data, tmp_path / "out", "--seeds", 1, "--compute.device", "cuda")
    running = start([word for word in words if word not in RECIPES[1:]])
    printed, said = running.communicate(timeout=300)
    assert running.returncode == 2 and printed == ""
    assert "bert-seed0 failed: compute: device is cuda, but torch finds no GPU" in said
    assert said.splitlines()[-1].startswith("electrain: ") and "2 of 2 runs failed" in said.splitlines()[-1]
    assert (tmp_path / "out" / "table.md").exists()


def test_studies_are_found_by_name() -> None:
    assert study("ladder") == ladder()
    with pytest.raises(UserError, match="no study 'study'"):
        study("study")
