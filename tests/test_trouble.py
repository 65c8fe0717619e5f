"""What is done with a bad step: stop (tests/test_train.py), skip, rewind; and what counts as one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from electrain.batch import Batch
from electrain.data.loader import Loader
from electrain.errors import UserError
from electrain.guard import Guard, Trouble, number
from electrain.optim.adam import Adam
from electrain.train import pretrain
from tests.training import (
    at_step,
    last,
    make_data,
    metrics,
    one_thread,  # noqa: F401 - a fixture
    tiny,
    weights,
)

pytestmark = pytest.mark.usefixtures("unchecked")

RUN = tiny(steps=40)
BAD = 23  # of steps from 0
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("trouble") / "data")


def overflow(optimizer: torch.optim.Optimizer) -> None:
    """Makes the next gradient infinite, once."""
    parameter = optimizer.param_groups[0]["params"][0]
    handle = parameter.register_hook(lambda gradient: (handle.remove(), gradient * torch.inf)[1])


def train(run: Any, data: Path, out: Path, patch: pytest.MonkeyPatch, act: Callable[[Any], None]) -> list[int]:
    """Train with one bad step; returns the numbers of the rows that were read, in order."""
    read: list[int] = []
    step = Loader.step

    def noted(self: Loader, number: int) -> list[Batch]:
        if self.seed == run.seed:  # the held-out rows have another
            read.append(number)
        return step(self, number)

    with patch.context() as here:
        here.setattr(Adam, "set_rate", at_step(BAD, act))
        here.setattr(Loader, "step", noted)
        pretrain(run, data, out)
    return read


def events(out: Path) -> list[dict[str, Any]]:
    return [line for line in metrics(out) if line["kind"] in ("skip", "rewind")]


def test_skip_leaves_the_update_out(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(RUN, seed=5, trouble=Trouble("skip"))
    train(run, data, tmp_path / "skipped", monkeypatch, overflow)
    assert events(tmp_path / "skipped") == [{"step": BAD + 1, "kind": "skip", "why": "the gradient is not finite"}]

    made = iter(range(RUN.steps))
    update = torch.optim.AdamW.step
    with monkeypatch.context() as patch:  # the same run, whose step is left out by hand
        patch.setattr(torch.optim.AdamW, "step", lambda self: None if next(made) == BAD else update(self))
        pretrain(replace(RUN, seed=5), data, tmp_path / "by_hand")
    ours, hand = weights(last(tmp_path / "skipped")), weights(last(tmp_path / "by_hand"))
    assert ours.keys() == hand.keys() and all(torch.equal(ours[name], hand[name]) for name in ours)
    window = [line for line in metrics(tmp_path / "skipped") if line["kind"] == "train" and line["step"] == 28]
    assert all(value is not None and np.isfinite(value) for name, value in window[0].items() if name != "kind")


def test_rewind_passes_over_the_bad_rows(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = replace(RUN, seed=5, trouble=Trouble("rewind")), tmp_path / "run"
    read = train(run, data, out, monkeypatch, overflow)
    first, again = read[: read.index(20, 21)], read[read.index(20, 21) :]
    assert first[: BAD + 1] == list(range(BAD + 1)) and len(first) <= BAD + 2  # one may have been read ahead
    assert again == [20, 21, 22, *range(24, 41)]
    assert events(out) == [
        {"step": 20, "kind": "rewind", "from": BAD + 1, "why": "the gradient is not finite", "rows": BAD}
    ]
    steps = [line["step"] for line in metrics(out) if line["kind"] == "train"]
    assert steps == sorted(set(steps)) and steps[-1] == 40

    # A run that goes on later passes over them too.
    more = [*(out / "checkpoints").glob("step-*")]
    assert {path.name for path in more} >= {"step-000040"}
    for path in more:
        if path.name > "step-000030":
            path.rename(tmp_path / path.name)
    later = train(run, data, out, monkeypatch, lambda optimizer: None)
    assert later == list(range(31, 41))
    kept, made = weights(tmp_path / "step-000040"), weights(last(out))
    assert all(torch.equal(kept[name], made[name]) for name in kept)


def test_rewind_before_the_first_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(RUN, seed=5, save_every=1000, trouble=Trouble("rewind"))
    read = train(run, data, tmp_path / "run", monkeypatch, overflow)
    assert read[-40:] == [*range(BAD), *range(BAD + 1, 41)]
    assert events(tmp_path / "run")[0]["step"] == 0


def test_rewinds_come_to_an_end(data: Path, tmp_path: Path) -> None:
    run = replace(RUN, trouble=Trouble("rewind", norm=1.0000001, rewinds=3), log_every=1)
    with pytest.raises(UserError, match="after 3 rewinds a spike of the gradient; the last good"):
        pretrain(run, data, tmp_path / "run")
    assert len(events(tmp_path / "run")) == 3


def test_the_means_are_of_good_steps_and_a_spike_stands_out_from_them() -> None:
    random = np.random.default_rng(0)
    seen = random.uniform(0.9, 1.1, (300, 2))
    seen[50] = [5.0, 1.0]
    seen[120] = [1.0, np.inf]
    seen[200] = [1.0, 2.5]
    guard = Guard(Trouble(loss=2.0, norm=2.0), CPU, None)
    half: Guard | None = None
    for step, (loss, norm) in enumerate(seen):
        guard.judge(step, torch.tensor(loss), torch.tensor(norm))
        if step == 150:
            half = Guard(Trouble(loss=2.0, norm=2.0), CPU, guard.state())  # as a checkpoint would keep it
        elif half is not None:
            half.judge(step, torch.tensor(loss), torch.tensor(norm))
    assert [tuple(bad) for bad in guard.look()] == [
        (50, "a spike of the loss"), (120, "the gradient is not finite"), (200, "a spike of the gradient")
    ]  # fmt: skip
    assert guard.look() == []
    assert half is not None and [bad.step for bad in half.look()] == [200]
    assert half.state() == pytest.approx(guard.state(), rel=1e-6)

    mean, count = np.zeros(2), 0
    for step, value in enumerate(seen):
        if step not in (50, 120, 200):
            count += 1
            mean += (value - mean) / min(count, 100)
    assert guard.state() == pytest.approx([*mean, count], rel=1e-5)


def test_the_first_steps_have_nothing_to_stand_out_from() -> None:
    guard = Guard(Trouble(norm=1.5), CPU, None)
    for step in range(10):
        guard.judge(step, torch.tensor(1.0), torch.tensor(2.0**step))
    assert guard.look() == []


def test_which_rows_a_step_reads() -> None:
    assert [number(step, []) for step in range(3)] == [0, 1, 2]
    assert [number(step, [2, 3, 0]) for step in range(5)] == [1, 4, 5, 6, 7]


@pytest.mark.parametrize("bad", [{"loss": 0.5}, {"norm": -1.0}, {"norm": float("inf")}, {"rewinds": 0}])
def test_limits_that_make_no_sense_are_said(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"trouble: {next(iter(bad))} is"):
        Trouble(**bad)
