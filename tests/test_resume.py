"""Stopped and gone on with = never stopped, bit for bit: real processes, really killed."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from electrain.run import Run
from electrain.system import System
from tests.training import BERT, ELECTRA, PAIRS, assert_same, finish, last, make_data, metrics, process, tiny

pytestmark = pytest.mark.usefixtures("unchecked")

# Compiling is a second or so for every kernel: one layer, and dropout in one of the two cases.
ONE_LAYER = replace(ELECTRA.encoder, layers=1)
NO_DROPOUT = replace(ONE_LAYER, dropout=0.0, attention_dropout=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("resume") / "data")


@pytest.fixture
def kernels(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled is kept in pytest's own cache: the second time it takes seconds."""
    assert pytestconfig.cache
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(pytestconfig.cache.mkdir("kernels")))


def killed_and_gone_on_with(run: Run, data: Path, folder: Path, at: int) -> tuple[Path, Path, str]:
    """A run that was never stopped, the same one killed after `at` steps and started again, and what that one said."""
    whole, cut = folder / "whole", folder / "cut"
    finish(process(run, data, whole))
    finish(process(run, data, cut, at, "SIGKILL"), -signal.SIGKILL)
    saved = at // run.save_every * run.save_every
    assert last(cut).name == f"step-{saved:06d}"
    assert metrics(cut)[-1]["step"] > saved  # lines of steps that are to be made again
    said = finish(process(run, data, cut))
    assert f"going on from {cut / 'checkpoints' / f'step-{saved:06d}'}" in said
    assert_same(whole, cut)
    return whole, cut, said


def test_57_steps_a_kill_and_35_steps_are_92_steps(data: Path, tmp_path: Path) -> None:
    whole, _, _ = killed_and_gone_on_with(tiny(steps=92), data, tmp_path, 57)
    lines = metrics(whole)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [*range(7, 92, 7), 92]
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [45, 90, 92]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_117_steps_a_kill_and_83_steps_are_200_steps(dtype: str, data: Path, tmp_path: Path) -> None:
    run = tiny()
    run = replace(run, compute=replace(run.compute, dtype=dtype))
    whole, _, _ = killed_and_gone_on_with(run, data, tmp_path, 117)
    lines = metrics(whole)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [*range(7, 200, 7), 200]
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [45, 90, 135, 180, 200]


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("system", "dtype"),
    [(replace(ELECTRA, encoder=ONE_LAYER), "float32"), (replace(BERT, encoder=NO_DROPOUT), "bfloat16")],
    ids=["electra-float32", "bert-bfloat16"],
)
def test_compiled_117_steps_a_kill_and_83_steps_are_200_steps(
    system: System.Config, dtype: str, data: Path, tmp_path: Path
) -> None:
    run = tiny(system)
    run = replace(run, compute=replace(run.compute, dtype=dtype, compile=True))
    _, _, said = killed_and_gone_on_with(run, data, tmp_path, 117)
    assert "compiled in" in said and "not compiled" not in said


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(tiny(steps=60, accumulate=2, packing=PAIRS), marks=pytest.mark.slow),
        pytest.param(tiny(BERT, steps=60), marks=pytest.mark.slow),
    ],
    ids=["electra-pairs-accumulated", "bert"],
)
def test_other_runs_are_resumed_as_exactly(run: Run, data: Path, tmp_path: Path) -> None:
    killed_and_gone_on_with(run, data, tmp_path, 38)


def test_sigterm_from_outside_saves_and_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    run = tiny(steps=100_000, eval_every=100_000, save_every=100_000)  # far too long to end by itself
    running, log = process(run, data, tmp_path / "run"), tmp_path / "run" / "metrics.jsonl"
    while running.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    said = finish(running, 128 + signal.SIGTERM)
    saved = last(tmp_path / "run")
    step = int(saved.name[5:])
    assert step >= 7
    assert f"stopped at step {step}, saved in {saved}; the same command goes on from there" in said
    # A second one leaves as well, further on; a strike at once is at the end of the first step that it makes.
    said = finish(process(run, data, tmp_path / "run", 0, "SIGTERM"), 128 + signal.SIGTERM)
    assert f"going on from {saved}" in said and f"stopped at step {step + 1}, " in said


def test_bad_input_leaves_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    said = finish(process(tiny(), data, tmp_path / "out"), 2)
    assert len(said.splitlines()) == 1 and "thesis" not in said and "choose an empty or a new folder for --out" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
