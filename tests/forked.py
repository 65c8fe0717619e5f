"""Processes of their own for tests, forked from one that has imported torch and electrain: a tenth of a second each.

They are killed, stopped and waited for like any other process; only what they would import is there already.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.faults.process import context


class Forked:
    """`work(*arguments)` in a process of its own, whose result is its exit code; the words are those of Popen.

    work:        a function of a module, so that the process finds it by its name
    log:         takes what it says, on both streams
    environment: variables beside those of this process
    """

    def __init__(
        self, work: Callable[..., int | None], *arguments: object, log: Path, environment: dict[str, str] | None = None
    ):
        self.log = log
        log.write_bytes(b"")
        known = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **(environment or {})}
        self._process = context().Process(target=_child, args=(work, arguments, str(log), known))
        self._process.start()
        self.pid: int = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit code, minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """A signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float = 300) -> tuple[None, str]:
        """Waits, and returns what it said. One that does not end is killed, and TimeoutError."""
        self._process.join(timeout)
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            raise TimeoutError(f"no end after {timeout:.0f} s: {self.log.read_text(errors='replace')}")
        return None, self.log.read_text(errors="replace")


def _child(work: Callable[..., int | None], arguments: tuple[object, ...], log: str, known: dict[str, str]) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(known)
    sys.exit(work(*arguments))


def variables(ranks: int) -> list[dict[str, str]]:
    """What torchrun sets for each of so many processes; nothing for one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "LOCAL_WORLD_SIZE": str(ranks), "WORLD_SIZE": str(ranks)}
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {} for rank in range(ranks)]


def together(work: Callable[..., None], *arguments: object, ranks: int, folder: Path) -> None:
    """`work(rank, *arguments)` in so many processes at once, with gloo between them; AssertionError if one fails."""
    logs = [folder / f"rank-{rank}.log" for rank in range(ranks)]
    running = [
        Forked(_joined, work, rank, *arguments, log=logs[rank], environment=where)
        for rank, where in enumerate(variables(ranks))
    ]
    for process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said


def _joined(work: Callable[..., None], rank: int, *arguments: object) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    work(rank, *arguments)
    torch.distributed.destroy_process_group()
