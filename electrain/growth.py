"""Updates that grow: fewer rows, or shorter rows, in the first part of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from electrain.errors import UserError


class Part(NamedTuple):
    """A stretch of a run whose rows have one length; rows: how many are read in it."""

    length: int
    rows: int


@dataclass(frozen=True)
class Growth:
    """How large the first updates are; by default as large as all others.

    Early gradients point much the same way whatever the batch (McCandlish et al., 2018), and attention over short rows
    costs less (Devlin et al., 2019, appendix A.2: nine tenths of BERT's steps have rows of 128, the rest of 512).
    """

    rows: int = 0
    """Rows of the first update; they grow by so many at a time, in even stages, to the whole batch. 0 for all rows."""
    rows_until: float = 0.3
    """Share of the steps in which the rows grow."""
    length: int = 0
    """Tokens of the first rows; an update has as many tokens in all, so more rows. 0 for the run's length."""
    length_until: float = 0.7
    """Share of the steps with such short rows."""

    def __post_init__(self) -> None:
        for name in ("rows", "length"):
            if getattr(self, name) < 0:
                raise UserError(f"growth: {name} is {getattr(self, name)}; choose 0 or more")
        for name in ("rows_until", "length_until"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"growth: {name} is {getattr(self, name)}; choose a share above 0, at most 1")

    def check(self, batch: int, length: int, accumulate: int) -> None:
        """UserError if a run of this batch and length cannot grow so."""
        micro = batch // accumulate
        if self.rows and (batch % self.rows or self.rows % micro):
            raise UserError(
                f"growth: rows is {self.rows}; the batch of {batch} must be a multiple of it, and it one of the "
                f"{micro} row(s) of a micro-batch (--accumulate)"
            )
        if self.length and (length % self.length or self.length == length):
            raise UserError(f"growth: length is {self.length}; choose one of which the run's {length} is a multiple")

    @property
    def grows(self) -> bool:
        """Whether first updates differ from later ones."""
        return bool(self.rows or self.length)

    def short(self, steps: int) -> int:
        """How many of the first steps have short rows."""
        return round(self.length_until * steps) if self.length else 0

    def before(self, step: int, steps: int, batch: int) -> int:
        """Rows that are read before step 0 .. steps; an update of short rows counts as the full rows of its size."""
        whole = batch // self.rows if self.rows else 1
        growing = round(self.rows_until * steps) if whole > 1 else 0
        inside, total = min(step, growing), (step - min(step, growing)) * batch
        for stage in range(whole - 1):  # this many times `rows`, and once more
            begins, ends = (-(-growing * edge // (whole - 1)) for edge in (stage, stage + 1))
            total += max(0, min(inside, ends) - begins) * (stage + 1) * self.rows
        return total

    def parts(self, steps: int, batch: int, length: int) -> Iterator[Part]:
        """What a run of so many steps reads."""
        middle = self.before(self.short(steps), steps, batch)
        if middle:
            yield Part(self.length, middle * (length // self.length))
        yield Part(length, self.before(steps, steps, batch) - middle)
