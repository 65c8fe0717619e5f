"""How far a study is, from what its runs have logged."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from electrain.progress import Done
from electrain.run import Run
from electrain.start import FIRST
from electrain.study.workers import Job

_TAIL = 1 << 14  # bytes in which the last line of metrics.jsonl lies


def far(jobs: Sequence[Job], ended: Sequence[str]) -> Done:
    """The share of the steps of all jobs that are made; `ended` are the names of those that are done with.

    A job's arguments begin with its run, the data and the run's folder; one that trains nothing counts as a step.
    """
    made = total = 0
    running = []
    for job in jobs:
        run, _, out, *_ = job.arguments
        trains = job.name.rpartition("-")[0] == run.recipe
        steps = _steps(run) if trains else 1
        reached = steps if job.name in ended else min(steps, _reached(run, out)) if trains else 0
        if trains and reached > 0 and job.name not in ended:
            running.append(f"{job.name} {reached:,}/{steps:,}")
        made, total = made + reached, total + steps
    note = f"{len(ended)} of {len(jobs)} runs"
    return Done(made / max(total, 1), ", ".join([note, *running]))


def _steps(run: Run) -> int:
    return run.steps + (_steps(run.first) if run.first is not None else 0)


def _reached(run: Run, out: Path) -> int:
    """Steps that a run's log tells of, those of the stage before among them."""
    before = _reached(run.first, out / FIRST) if run.first is not None else 0
    return before + _last(out / "metrics.jsonl")


def _last(path: Path) -> int:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:  # it has not begun
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, TypeError, KeyError, RecursionError):  # cut short: it is being written
            continue
    return 0
