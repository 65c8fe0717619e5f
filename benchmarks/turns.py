"""Contestants in turn, so that whatever else the machine does falls on all alike.

Each lives in a process of its own (so that its peak memory is its own) and is ready and warm before any is timed. They
then make a few steps each, round after round; figures are medians over the rounds.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch


class Gate:
    """A contestant's side: where it waits for a number of steps to make, and says what it made in which time."""

    def __init__(self) -> None:
        self.left, self.made, self.since = 0, 0, 0.0

    def open(self) -> None:
        """Ready: wait to be called."""
        self._wait()

    def step(self, units: int) -> None:
        """A step is made, of so many units (tokens, examples); returns when the next one is wanted."""
        self.left -= 1
        self.made += units
        if self.left == 0:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            _say([self.made, time.perf_counter() - self.since])
            self._wait()

    def _wait(self) -> None:
        line = sys.stdin.readline().strip()
        if not line:
            _leave()
        self.left, self.made, self.since = int(line), 0, time.perf_counter()


def _say(what: object) -> None:
    # Not sys.stdout: what other libraries print must not be taken for an answer.
    print(f"\n@{json.dumps(what)}", file=sys.__stdout__, flush=True)


def _leave() -> NoReturn:
    if torch.cuda.is_available():
        _say(torch.cuda.max_memory_allocated() / 2**20)
    else:
        status = Path("/proc/self/status").read_text()
        _say(int(status.split("VmHWM:")[1].split()[0]) / 1024)
    raise SystemExit(0)


class Figures(NamedTuple):
    """Units a second: median, lowest, highest of the rounds; and the peak memory in MiB (the GPU's, where one is)."""

    rate: float
    lowest: float
    highest: float
    peak_mib: float


class Turns:
    """The other side: starts contestants, calls them in turn. `command` and a contestant's name start it."""

    def __init__(self, command: list[str], names: Iterable[str], warm: int = 2):
        self.workers: dict[str, subprocess.Popen[str]] = {}
        for name in names:
            self._start(command, name)
            began = time.monotonic()
            self._ask(name, 1)  # compiles
            self._ask(name, warm)
            print(f"{name}: ready after {time.monotonic() - began:.0f} s", flush=True)
        self.rates: dict[str, list[float]] = {name: [] for name in self.workers}

    def run(self, rounds: int, steps: int | Mapping[str, int]) -> dict[str, Figures]:
        """So many rounds of so many steps each, or each its own number; ends the contestants."""
        for number in range(rounds):
            for name in self.workers:
                units, seconds = self._ask(name, steps if isinstance(steps, int) else steps[name])
                self.rates[name].append(units / seconds)
            print(f"round {number + 1} of {rounds}", flush=True)
        figures = {}
        for name, worker in self.workers.items():
            assert worker.stdin
            worker.stdin.close()
            rates = self.rates[name]
            figures[name] = Figures(statistics.median(rates), min(rates), max(rates), self._answer(name))
            worker.wait()
        return figures

    def _start(self, command: list[str], name: str) -> None:
        pipe = subprocess.PIPE
        self.workers[name] = subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, text=True)

    def _send(self, name: str, steps: int) -> None:
        stdin = self.workers[name].stdin
        assert stdin
        stdin.write(f"{steps}\n")
        stdin.flush()

    def _ask(self, name: str, steps: int) -> tuple[int, float]:
        self._send(name, steps)
        return tuple(self._answer(name))

    def _answer(self, name: str) -> Any:
        stdout = self.workers[name].stdout
        assert stdout
        for line in stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit(f"{name}: ended before it answered; what it said of that is above")


def table(figures: dict[str, Figures], unit: str) -> str:
    """The figures, a line a contestant."""
    lines = [f"{'':<34}{unit + '/s':>12}{'low':>10}{'high':>10}{'peak MiB':>10}"]
    lines += [
        f"{name:<34}{f.rate:>12,.0f}{f.lowest:>10,.0f}{f.highest:>10,.0f}{f.peak_mib:>10,.0f}"
        for name, f in figures.items()
    ]
    return "\n".join(lines)
