"""metrics.jsonl as columns: what is damaged is counted, what is not a number is a gap."""

import json
import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np

from electrain.errors import UserError

NAME = "metrics.jsonl"
_END = 200  # bytes by which a file is known again
_NO_METRIC = {"step", "kind"}


@dataclass
class Columns:
    """Lines of one kind. `values[name][i]` belongs to `steps[i]`; NaN where a line has no such number."""

    steps: array = field(default_factory=lambda: array("d"))
    values: dict[str, array] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def add(self, step: float, line: dict[str, Any]) -> None:
        """One more line."""
        if not self.seen.issuperset(line):
            for name in line.keys() - self.seen - _NO_METRIC:
                self.values[name] = array("d", [math.nan] * len(self.steps))
            self.seen.update(line)
        for name, column in self.values.items():
            value = line.get(name)
            column.append(value if type(value) is float else float(value) if _number(value) else math.nan)
        self.steps.append(step)

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of a metric, float64; both are empty if there is none."""
        if name not in self.values:
            return np.empty(0), np.empty(0)
        return np.array(self.steps), np.array(self.values[name])

    def last(self, name: str) -> float | None:
        """The last number of a metric."""
        return next((value for value in reversed(self.values.get(name, ())) if math.isfinite(value)), None)

    @property
    def names(self) -> list[str]:
        """Metrics of which there is a number."""
        return [name for name, column in self.values.items() if any(map(math.isfinite, column))]


@dataclass
class Lines:
    """A run's log.

    troubles: (step, what was said) of bad steps
    damaged:  lines that could not be read
    size:     bytes of the file that have been read
    end:      the last of them
    """

    train: Columns = field(default_factory=Columns)
    eval: Columns = field(default_factory=Columns)
    troubles: list[tuple[int, str]] = field(default_factory=list)
    damaged: int = 0
    size: int = 0
    end: bytes = b""

    @property
    def step(self) -> int:
        """The last step of which anything is known."""
        return int(max([0, *self.train.steps[-1:], *self.eval.steps[-1:]]))


def read(folder: Path, known: Lines | None = None) -> Lines:
    """The log of a run; empty where there is none yet. UserError if the file cannot be read.

    known: what was read before: lines that were added to the same file since are added to it
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            found = known if known is not None and _grown(file, known) else Lines()
            file.seek(found.size)
            texts = file.read()
    except FileNotFoundError:
        return Lines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); see to its rights, or restore it") from error
    last = texts[texts.rfind(b"\n") + 1 :]
    if _line(last) is None:  # it is being written: for the next time
        texts = texts.removesuffix(last)
    found.size += len(texts)
    found.end = (found.end + texts)[-_END:]
    for words in texts.split(b"\n"):
        if not words:
            continue
        line = _line(words)
        if line is None:
            found.damaged += 1
        elif line.get("kind") in ("train", "eval"):
            columns = found.train if line["kind"] == "train" else found.eval
            if not columns.steps or line["step"] > columns.steps[-1]:
                columns.add(float(line["step"]), line)
            else:
                found.damaged += 1  # steps rise; a line that goes back was copied or edited
        elif line.get("kind") in ("skip", "rewind"):
            found.troubles.append(_trouble(line))
    return found


def _grown(file: BinaryIO, known: Lines) -> bool:
    """Whether the file begins as it was. A run that goes on from a checkpoint writes it anew, with other timings."""
    file.seek(known.size - len(known.end))
    return file.read(len(known.end)) == known.end


def _line(words: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(words)
    except (ValueError, RecursionError):
        return None
    good = isinstance(line, dict) and _number(line.get("step")) and 0 <= line["step"] < 2**53
    return line if good else None


def _trouble(line: dict[str, Any]) -> tuple[int, str]:
    why = line.get("why") if isinstance(line.get("why"), str) else "no reason is recorded"
    if line["kind"] == "skip":
        return int(line["step"]), f"{why}; its update was left out"
    begun = line.get("from")
    bad = int(begun) if _number(begun) else int(line["step"])
    return bad, f"{why}; training went back to step {int(line['step']):,} and passed over these rows"


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**1000
