"""A run's folder with its log: where it stands, and how far each step is in tokens, operations and hours."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from electrain.errors import UserError
from electrain.growth import Growth
from electrain.lock import holder
from electrain.report import lines, recorded
from electrain.report.lines import Columns, Lines
from electrain.report.recorded import Recorded
from electrain.start import FIGURES, FIRST, STUDY
from electrain.watch import Watch

State = Literal["finished", "running", "stopped", "empty"]


@dataclass(frozen=True)
class Start:
    """What was spent before the first step: by the stage before. Operations are None where they cannot be counted."""

    tokens: float = 0.0
    operations: float | None = 0.0
    hours: float = 0.0


@dataclass(frozen=True)
class History:
    """One run, or one stage of it."""

    name: str
    folder: Path
    recorded: Recorded
    lines: Lines
    state: State
    before: "History | None" = None

    @property
    def steps(self) -> int:
        """Steps that the run is to make."""
        return int(self.recorded.setting("steps"))

    @property
    def tokens(self) -> int:
        """Tokens of a whole update."""
        return int(self.recorded.setting("batch")) * int(self.recorded.setting("length"))

    @cached_property
    def grown(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None:
        """Of a run whose updates grow: steps, and how many whole updates were read before each; otherwise None."""
        run = self.recorded.run
        if run is None or run.growth == Growth():
            return None
        steps = sorted({*np.linspace(0, run.steps, 101).round().astype(int).tolist(), self.lines.step})
        whole = [run.growth.before(min(step, run.steps), run.steps, run.batch) / run.batch for step in steps]
        return np.array(steps, np.float64), np.array(whole)

    def whole(self, step: int | float | Float[np.ndarray, " n"]) -> Any:
        """Whole updates before a step. (Those of short rows count by their tokens, which cost a little less.)"""
        return step if self.grown is None else np.interp(step, *self.grown)

    @cached_property
    def hours(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Steps, and the hours of training until each of them, by the throughput of the windows of the log.

        Evaluations and checkpoints are not in it, nor what was spent on steps that had to be made again.
        """
        steps, speed = self.lines.train.series("tokens_per_second")
        known = np.isfinite(speed) & (speed > 0)
        if not known.any():
            return np.array([0.0]), np.array([0.0])
        speed = np.where(known, speed, np.median(speed[known]))
        spent = np.diff(self.whole(steps), prepend=0.0) * self.tokens / speed / 3600
        return np.append(0.0, steps), np.append(0.0, spent.cumsum())

    @cached_property
    def start(self) -> Start:
        """What the stages before it have spent."""
        if (past := self.before) is None:
            return Start()
        return past.spent

    @property
    def spent(self) -> Start:
        """What it has spent up to its last line, stages before counted in."""
        step, own, earlier = float(self.whole(self.lines.step)), self.recorded.operations, self.start
        operations = None if own is None or earlier.operations is None else earlier.operations + own * step
        return Start(earlier.tokens + step * self.tokens, operations, earlier.hours + float(self.hours[1][-1]))

    @cached_property
    def warnings(self) -> list[tuple[int, str]]:
        """(step, text): bad steps as the log has them, and what `Watch` sees in the log."""
        watch, train, found = Watch(self.steps), self.lines.train, list(self.lines.troubles)
        columns = {name: train.values[name] for name in ("rtd_auc", "generator_entropy", "mlm_accuracy")
                   if name in train.values}  # fmt: skip
        for i, step in enumerate(train.steps):
            values = {name: column[i] for name, column in columns.items() if math.isfinite(column[i])}
            found += [(int(step), text.partition(": ")[2]) for text in watch.observe(int(step), values)]
        return sorted(found)

    def last(self, name: str) -> float | None:
        """A metric as it was last: held out if it was measured there."""
        held_out: Columns = self.lines.eval
        found = held_out.last(name)
        return self.lines.train.last(name) if found is None else found


def histories(folders: tuple[Path, ...], known: Iterable[History] = ()) -> list[History]:
    """The runs in some folders, a study's folder for all of its runs, each stage before its run; named apart.

    known: the same as they were before, whose logs are then read on from where they ended
    UserError for a folder without a run; but beside others a study's fresh weights, which were never run, may stand.
    """
    logs = {run.folder: run.lines for run in known}
    found: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{recorded.NAME}"))
        run = (folder / recorded.NAME).exists()
        study = (folder / STUDY).is_file() and not run
        if study and not inside:
            raise UserError(f"{folder}: a study of which no run has begun; come again when one has")
        if run or not (folder / FIGURES).is_file():  # not a study's fresh weights
            found += inside if study else [folder]
    if not found:
        names = ", ".join(map(str, folders))
        raise UserError(f"{names}: fresh weights that a study has judged, and no run; name a run's folder too")
    found = list(dict.fromkeys(path.resolve() for path in found))
    return [stage for path, name in zip(found, _names(found), strict=True) for stage in _stages(path, name, logs)]


def _stages(folder: Path, name: str, logs: dict[Path, Lines]) -> list[History]:
    said = recorded.load(folder)
    earlier = folder / FIRST
    before = []
    if said.tree["run"].get("first") is not None and (earlier / recorded.NAME).is_file():
        before = _stages(earlier, f"{name}, first stage", logs)
    log = lines.read(folder, logs.get(folder))
    past: Any = before[-1] if before else None
    return [*before, History(name, folder, said, log, _state(folder, said, log), past)]


def _state(folder: Path, said: Recorded, log: Lines) -> State:
    if log.step >= said.setting("steps"):
        return "finished"
    if holder(folder) is not None:
        return "running"
    return "stopped" if log.step else "empty"


def _names(folders: list[Path]) -> list[str]:
    """The shortest ends of the paths that tell them all apart."""
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names
