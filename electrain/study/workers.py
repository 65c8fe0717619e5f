"""Work done in processes of its own, some side by side: each has its own memory, threads and log."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from electrain.errors import Stopped, UserError


@dataclass(frozen=True)
class Job:
    """A function with its arguments (both are pickled), and the file that what it says is appended to."""

    name: str
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path


def side_by_side(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, str]]:
    """Jobs as they end, each with what went wrong, or "".

    Leaving the iterator, Ctrl-C and SIGTERM (Stopped) tell the running jobs to stop, and wait for them to save. A
    process that is killed takes its jobs with it: two must never write to one folder.
    """
    context = get_context("spawn")
    waiting, running = list(jobs), {}
    with _stoppable():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    process = context.Process(target=_work, args=(job,), name=job.name)
                    process.start()
                    running[process.sentinel] = (process, job)
                for sentinel in wait(list(running)):
                    process, job = running.pop(sentinel)
                    process.join()
                    yield job, "" if process.exitcode == 0 else _reason(job, process.exitcode)
        finally:
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.join()


def _work(job: Job) -> None:
    """In the new process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        os.dup2(log.fileno(), 2)
        os.dup2(log.fileno(), 1)
    try:
        job.call(*job.arguments)
    except UserError as error:
        print(" ".join(str(error).splitlines()), file=sys.stderr)
        raise SystemExit(2) from None
    except Stopped as stop:
        raise SystemExit(128 + stop.number) from None


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _reason(job: Job, code: int | None) -> str:
    """The last line of the job's log: one of ours, or the end of a traceback."""
    lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name} (out of memory?)"
    return lines[-1] if lines else f"left with code {code}"


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
