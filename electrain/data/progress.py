"""What a person sees while `prepare` works: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LINE_SECONDS = 15.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Done:
    """How far the work is: `share` from 0 to 1, and what has come of it so far in words."""

    share: float
    note: str


@contextmanager
def shown(title: str, look: Callable[[], Done] | None = None) -> Iterator[None]:
    """Shows `title` while the block runs, and on a thread every moment what `look` returns.

    Everything goes to what standard error was on entry, so that the block may redirect it.
    """
    stream, ended = sys.stderr, threading.Event()
    if stream.isatty():
        from rich.console import Console

        thread = threading.Thread(target=_bar, args=(Console(file=stream), title, look, ended), daemon=True)
    else:
        say = partial(print, file=stream, flush=True)
        say(title)
        thread = threading.Thread(target=_lines, args=(say, title, look, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _bar(console: "Console", title: str, look: Callable[[], Done] | None, ended: threading.Event) -> None:
    from rich import progress as rich

    columns = [rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TaskProgressColumn()]
    columns += [rich.TextColumn("{task.fields[note]}"), rich.TimeElapsedColumn(), rich.TimeRemainingColumn()]
    # rich must not exchange the process' streams: it would do so on this thread, while the block does it on its own.
    with rich.Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task(title, total=1.0 if look else None, note="")
        last = False
        while not last:
            last = ended.wait(POLL_SECONDS)  # and one look more after the end
            if look:
                done = look()
                progress.update(task, completed=done.share, note=done.note)
        if look is None:
            progress.update(task, total=1.0, completed=1.0)


def _lines(say: Callable[[str], None], title: str, look: Callable[[], Done] | None, ended: threading.Event) -> None:
    start = time.monotonic()
    while not ended.wait(LINE_SECONDS):
        done = look() if look else None
        passed = f"{time.monotonic() - start:.0f} s"
        text = f"{title}: {done.share:.0%}, {done.note}, {passed}" if done else f"{title}: {passed}"
        say(text)
