"""How far work is: a bar on a terminal, and a plain line a minute in a file, a pipe or a notebook. Shown here alone."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from electrain.escaping import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LINE_SECONDS = 60.0
POLL_SECONDS = 0.5
_BAR = 12  # characters
_live: "list[Console]" = []  # of the bars that stand on the terminal now: lines go above them
_apart = [0.0]  # seconds of this process


@dataclass(frozen=True)
class Done:
    """How far the work is: `share` from 0 to 1, and what has come of it so far in words.

    skipped: of `share`, what was found done on the way and took no time
    """

    share: float
    note: str
    skipped: float = 0.0


def terminal(stream: Any) -> bool:
    """Whether a bar can be drawn: no file, no pipe, and no notebook, whose `!command` looks like a terminal."""
    drawn = stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
    return drawn and "JPY_PARENT_PID" not in os.environ  # which a notebook's kernel hands on


def line(text: str) -> None:
    """One line to the person on standard error, above a bar if there is one; no control characters."""
    if _live:
        _live[-1].print(printable(text), markup=False)
    else:
        print(printable(text), file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


@contextmanager
def apart() -> Iterator[None]:
    """Time that says nothing about the work to come, such as compiling: no rate and no time left counts it."""
    began = time.monotonic()
    try:
        yield
    finally:
        _apart[0] += time.monotonic() - began


def working() -> float:
    """A clock in seconds that stands still in `apart`."""
    return time.monotonic() - _apart[0]


class Pace:
    """Time left, from how fast the work has gone here since the first mark.

    What was done before it counts for nothing: the part of a run that is gone on with, and the first step.
    """

    def __init__(self, total: float):
        self.total = total
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)
        self._todo = total

    def mark(self, done: float, skipped: float = 0.0) -> None:
        """So much of `total` is done now; `skipped` of it was found done on the way, and took no time."""
        self._last, self._todo = (done - skipped, working()), self.total - done
        if self._first is None:
            self._first = self._last

    @property
    def rate(self) -> float | None:
        """Of `total`, what is done in a second; None before two marks differ."""
        if self._first is None or self._last[0] <= self._first[0] or self._last[1] <= self._first[1]:
            return None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])

    @property
    def left(self) -> float | None:
        """Seconds, where the rate is known."""
        return None if self.rate is None else self._todo / self.rate

    @property
    def said(self) -> str:
        """In words: left h:mm:ss, or nothing before it is known."""
        return "" if self.left is None else f"left {clock(self.left)}"


class Bar:
    """Work in steps.

    start:  steps that were made before
    speaks: False in all but the first of several processes
    """

    def __init__(self, total: int, start: int = 0, what: str = "step", speaks: bool = True):
        self.total, self.what, self.speaks = total, what, speaks
        self.pace = Pace(float(total))
        self.text: str | None = None
        self.said = time.monotonic()
        self.bar: Progress | None = None
        if speaks and terminal(sys.stderr):
            self.bar = _drawn(sys.stderr, redirect=True)
            self.task = self.bar.add_task(f"{what} {start:,}/{total:,}", total=total, completed=start, left="", text="")
            self.bar.start()
            _live.append(self.bar.console)

    def update(self, done: int, text: str | None) -> None:
        """`done` steps are made; `text` says more about them, None for what it said before."""
        self.pace.mark(float(done))
        early = self.text is None and text is not None  # the first words come at once
        last = done == self.total and text is not None
        self.text = self.text if text is None else text
        title = f"{self.what} {done:,}/{self.total:,}"
        if self.bar is not None:
            text = self.text or ""
            self.bar.update(self.task, completed=done, description=title, left=self.pace.said, text=text)
        elif self.speaks and (early or last or time.monotonic() - self.said >= LINE_SECONDS):
            self.said = time.monotonic()
            line("  ".join(filter(None, (title, self.text, self.pace.said))))

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            _live.remove(self.bar.console)
            self.bar.stop()
            self.bar = None


@contextmanager
def shown(title: str, look: Callable[[], Done] | None = None) -> Iterator[None]:
    """Shows `title` while the block runs, and on a thread every moment what `look` returns.

    Everything goes to what standard error was on entry, so that the block may redirect it.
    """
    stream, ended = sys.stderr, threading.Event()
    if terminal(stream):
        bar = _drawn(stream, redirect=False)  # on a thread the process' streams must not be exchanged
        thread = threading.Thread(target=_watch, args=(bar, title, look, ended), daemon=True)
        _live.append(bar.console)
    else:
        bar = None
        print(title, file=stream, flush=True)
        thread = threading.Thread(target=_lines, args=(stream, title, look, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if bar is not None:
            _live.remove(bar.console)


def _drawn(stream: Any, *, redirect: bool) -> "Progress":
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    # What a terminal is, is decided above: rich believes the environment, and a notebook's asks for colours.
    console = Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False, soft_wrap=True)
    full, empty = ("━", "─") if console.encoding.startswith("utf") else ("=", "-")

    class Whole(ProgressColumn):
        """All in one column: of several, a narrow terminal would cut the first, and leave the last."""

        def render(self, task: Task) -> Text:
            share = 0.0 if not task.total else min(1.0, task.completed / task.total)
            filled = round(_BAR * share)
            done = (full * filled, "green"), (empty * (_BAR - filled), "bright_black")
            rest = "  ".join(filter(None, (task.fields["left"], task.fields["text"])))
            return Text.assemble(f"{task.description}  ", *done, f"  {rest}", no_wrap=True, overflow="ellipsis")

    return Progress(Whole(), console=console, redirect_stdout=False, redirect_stderr=redirect)


def _watch(bar: "Progress", title: str, look: Callable[[], Done] | None, ended: threading.Event) -> None:
    pace, last, began = Pace(1.0), False, time.monotonic()
    with bar:
        task = bar.add_task(title, total=1.0 if look else None, left="", text="")
        while not last:
            last = ended.wait(POLL_SECONDS)  # and one look more after the end
            if look:
                done = look()
                pace.mark(done.share, done.skipped)
                text = f"{done.share:.0%}  {done.note}"
                bar.update(task, completed=done.share, left=pace.said, text=text)
            else:
                bar.update(task, text=clock(time.monotonic() - began))
        if look is None:
            bar.update(task, total=1.0, completed=1.0)


def _lines(stream: Any, title: str, look: Callable[[], Done] | None, ended: threading.Event) -> None:
    start, said, pace = time.monotonic(), time.monotonic(), Pace(1.0)
    while not ended.wait(POLL_SECONDS):
        if pace.left is None and look:  # what was there before is known from the first look
            done = look()
            pace.mark(done.share, done.skipped)
        if time.monotonic() - said < LINE_SECONDS:
            continue
        said = time.monotonic()
        parts = [title, clock(said - start)]
        if look:
            done = look()
            pace.mark(done.share, done.skipped)
            parts = [f"{title} {done.share:.0%}", done.note, parts[1], pace.said]
        print(printable("  ".join(filter(None, parts))), file=stream, flush=True)
