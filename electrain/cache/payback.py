"""What `electrain cache` says at its end: its pace, its size, and after how many epochs it has paid for itself."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from electrain.columns import aligned

_SECONDS = 3.0  # of measuring, about
_T = TypeVar("_T")


@dataclass(frozen=True)
class Payback:
    """Figures of a cache that was just made.

    rows, train: rows covered of both splits, and of the training data
    selections:  of each row
    tokens:      of a row
    size:        bytes on disk
    made:        seconds that a row took to make, all of its selections
    live:        seconds of a batch for the generator, its forward pass and sampling: what a run without a cache spends
    read:        seconds of a batch for the cache, reading it and sampling: what a run with one spends instead
    batch:       rows of such a batch
    """

    rows: int
    train: int
    selections: int
    tokens: int
    size: int
    made: float
    live: float
    read: float
    batch: int

    @property
    def saved(self) -> float:
        """Seconds that an epoch of the training data saves; below 0 where reading is slower than the generator."""
        return self.train * (self.live - self.read) / self.batch

    @property
    def epochs(self) -> float:
        """Epochs after which it has paid for itself; infinite where it never does."""
        return self.rows * self.made / self.saved if self.saved > 0 else float("inf")

    def describe(self) -> str:
        """For a person."""
        many = f"{self.selections} selection" + "s" * (self.selections > 1)
        live, read = (1000 * seconds / self.batch for seconds in (self.live, self.read))
        after = "never here: reading it takes longer than the generator"
        if self.saved > 0:
            after = f"after {self.epochs:.1f} epochs, of one run or of several together"
        rows = [
            ("rows a second", f"{1 / self.made:,.1f}, each with {many}"),
            ("bytes a token", f"{self.size / (self.rows * self.tokens):,.1f}, all selections of it"),
            ("on disk", f"{self.size / 1e9:.3f} GB"),
            ("pays for itself", after),
            ("", f"making it takes {self.rows * self.made:,.1f} s, an epoch saves {self.saved:,.1f} s. For a row"),
            ("", f"the generator takes {live:.3f} ms (forward pass and sampling, as in a run without a cache),"),
            ("", f"and the cache {read:.3f} ms (reading and sampling, as in a run with it); both measured just now"),
        ]
        return aligned(rows)


def in_turn(
    calls: tuple[Callable[[_T], object], Callable[[_T], object]], given: Iterable[_T], seconds: float = _SECONDS
) -> tuple[float, float]:
    """Median seconds of two calls, each of which gets everything that is given, until about so many have passed.

    Neither the first two are counted, which warm up, nor what making the next one takes.
    """
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    for number, item in enumerate(given):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call(item)
            if number >= 2:
                found.append(time.perf_counter() - start)
        if number >= 4 and time.perf_counter() - began > seconds:
            break
    one, other = (statistics.median(found) for found in times)
    return one, other
