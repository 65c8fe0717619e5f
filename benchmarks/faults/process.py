"""`electrain ...` in a process of its own, which can be killed, limited, and asked what it said.

Processes are forked from one that has imported electrain and done nothing else: a start takes a tenth of a second in
place of several, so that a hundred kills fit into minutes. What is killed is a whole process all the same.
"""

import os
import resource
import signal
import sys
import time
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

_PRELOADED = [
    "torch._dynamo",  # imported by every optimizer: seconds
    "electrain.cli",
    "electrain.train",
    "electrain.propose",
    "electrain.data.prepare",
    "electrain.data.pipeline",
    "electrain.finetune.conduct",
    "electrain.study.conduct",
    "electrain.hub.load",
    "electrain.recipes",
    "electrain.finetune.classify",
    "transformers",
]
LIMIT = 300.0  # seconds after which a command hangs


class Hung(Exception):
    """A command did not end in time."""


def context() -> ForkServerContext:
    """Where the processes are forked from: the same server for all."""
    found = get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


class Command:
    """A running command. `log` takes what it says on both streams; `largest`: bytes that a file may grow to;
    `environment`: variables beside those of the first process.
    """

    def __init__(
        self, words: list[str], log: Path, largest: int | None = None, environment: dict[str, str] | None = None
    ):
        self.log = log
        log.write_bytes(b"")
        self.began = time.monotonic()
        self.process: ForkServerProcess = context().Process(target=_work, args=(words, str(log), largest, environment))
        self.process.start()
        self.pid: int = self.process.pid or 0

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.is_alive()

    def send(self, number: int) -> None:
        """A signal, if it is still there."""
        if self.running():
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code; minus the signal that ended it. Hung if it does not end."""
        self.process.join(LIMIT)
        if self.running():
            self.kill()
            raise Hung(f"no end after {LIMIT:.0f} s")
        code = self.process.exitcode
        assert code is not None
        return code

    def kill(self) -> int:
        """SIGKILL, and what came of it: 0 if it had ended well before."""
        self.send(signal.SIGKILL)
        self.process.join(LIMIT)
        return self.process.exitcode or 0

    @property
    def said(self) -> str:
        """Everything so far."""
        return self.log.read_text(errors="replace")


def _work(words: list[str], log: str, largest: int | None, environment: dict[str, str] | None) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdin.close()
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    os.environ.update(environment or {})
    from electrain.__main__ import main

    sys.argv[1:] = words
    main()
