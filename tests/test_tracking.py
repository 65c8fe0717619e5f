"""What a run says: metrics.jsonl, its rate, and the trackers that are asked for."""

import json
import math
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from electrain import progress
from electrain.errors import UserError
from electrain.progress import apart
from electrain.tracking import Clock, Log, Tracker, describe, trackers
from electrain.train import pretrain
from tests.training import make_data, one_thread, tiny  # noqa: F401 - a fixture

VALUES = {
    "loss": 23.1514, "mlm_loss": 5.278, "mlm_accuracy": 0.0312, "generator_entropy": 5.2, "rtd_loss": 0.35749,
    "replaced": 0.125, "rtd_auc": 0.58601, "lr": 1.1e-5, "tokens_per_second": 33_123.4, "data_wait": 0.01,
}  # fmt: skip


def lines(log: Log) -> list[dict]:
    return [json.loads(text) for text in log.path.read_text().splitlines()]


def test_the_log_drops_the_steps_that_are_made_again(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for step in (10, 20, 30):
        log.write({"step": step, "kind": "train", "loss": step / 7})
        assert len(lines(log)) == step // 10  # it is on its way to the disk at once
    log.close()
    for start, left in ((30, [10, 20, 30]), (25, [10, 20]), (20, [10, 20]), (0, [])):
        log = Log(tmp_path, start)
        assert [line["step"] for line in lines(log)] == left
        log.close()
    log = Log(tmp_path, 0)
    log.write({"step": 5, "kind": "train", "loss": 0.1 + 0.2})
    assert lines(log) == [{"step": 5, "kind": "train", "loss": 0.1 + 0.2}]
    log.close()


@pytest.mark.parametrize("torn", ['{"step": 20, "ki', '{"step": 20, "kind": "train"', '{"step"', "{", "\x00\x00"])
def test_a_torn_last_line_is_dropped(torn: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 10, "kind": "train"}\n' + torn)
    log = Log(tmp_path, 1000)
    log.write({"step": 30, "kind": "train"})
    log.close()
    assert [line["step"] for line in lines(log)] == [10, 30]


def test_what_was_not_counted_is_null(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    log.write({"step": 1, "kind": "eval", "rtd_recall": math.nan})
    log.close()
    assert log.path.read_text() == '{"step": 1, "kind": "eval", "rtd_recall": null}\n'


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    log = Log(tmp_path, 0)
    log._file.close()
    log._file = full.open("ab", buffering=0)
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written \(No space left on device\)"):
        log.write({"step": 1})


def test_the_numbers_that_a_person_watches() -> None:
    wanted = "loss 23.151  33,123 tok/s  mlm 5.28  acc 3.1%  rtd 0.357  replaced 12.5%  auc 0.586  lr 1.1e-05"
    assert describe(VALUES) == wanted
    bert = {name: VALUES[name] for name in ("loss", "mlm_loss", "mlm_accuracy", "lr", "tokens_per_second")}
    assert describe(bert) == "loss 23.151  33,123 tok/s  mlm 5.28  acc 3.1%  lr 1.1e-05"


def test_compiling_is_no_part_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = Clock(50_000, lambda: now[0] / 10)
    with apart():
        now[0] += 90.0
    now[0] += 8.0
    with clock.paused():  # an evaluation
        now[0] += 30.0
    now[0] += 2.0
    assert clock.window(52_000)["tokens_per_second"] == pytest.approx(20 * 100 / 10)
    now[0] += 5.0
    timing = clock.window(53_000)
    assert timing["tokens_per_second"] == pytest.approx(200) and timing["data_wait"] == pytest.approx(0.1)


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    data = make_data(tmp_path / "data")
    out = tmp_path / "run"
    pretrain(tiny(steps=14, eval_every=10, track=("tensorboard",)), data, out)
    events = accumulator.EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/rtd_auc", "train/lr", "train/tokens_per_second", "eval/loss"} <= set(tags)
    assert [event.step for event in events.Scalars("train/loss")] == [7, 14]
    assert [event.step for event in events.Scalars("eval/loss")] == [10, 14]
    logged = [line for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())]
    wanted = [line["loss"] for line in logged if line["kind"] == "eval"]
    assert [event.value for event in events.Scalars("eval/loss")] == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["wandb", "trackio", "tensorboard"])
def test_a_tracker_that_is_not_installed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(UserError, match=rf"--track {name}: .* is not installed; pip install 'electrain\[track\]'"):
        trackers((name,), tmp_path, {})


def test_a_missing_tracker_stops_a_run_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    data, run = make_data(tmp_path / "data"), tiny(steps=3)
    with pytest.raises(UserError, match="--track wandb"):
        pretrain(replace(run, track=("wandb",)), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_is_told_the_run_and_the_numbers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that both services have in common; a stand-in records them."""
    calls: list[tuple] = []
    service = types.SimpleNamespace(
        init=lambda **how: calls.append(("init", how["project"], how["name"], how["config"])),
        log=lambda values, step: calls.append(("log", values, step)),
        finish=lambda: calls.append(("finish",)),
    )
    monkeypatch.setitem(sys.modules, name, service)  # type: ignore[arg-type]
    (tracker,) = trackers((name,), tmp_path / "run", {"seed": 1})
    assert isinstance(tracker, Tracker)
    tracker.log({"train/loss": 1.0}, 7)
    tracker.close()
    assert calls == [("init", "electrain", "run", {"seed": 1}), ("log", {"train/loss": 1.0}, 7), ("finish",)]
