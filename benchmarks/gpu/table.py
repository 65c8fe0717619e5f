"""The table: tokens a second, share of the measured matrix rate, peak memory; wave by wave, as far as time allows."""

import os
import time
from collections.abc import Iterable
from typing import Any

from turns import Figures, Turns

from electrain.errors import UserError
from electrain.flops import count
from gpu.report import Report, read
from gpu.setting import OURS, Contestant, Setting, Wave

FIRST = 60.0  # seconds that a wave takes, before one is known
BESIDE = 8.0  # of them, at least, so much is left for the next to begin


class Together(Turns):
    """Contestants that compile at the same time and are then timed in turn. One that fails is left out: `failed`."""

    def __init__(self, command: list[str], names: Iterable[str], warm: int):
        self.workers = {}
        self.failed: dict[str, str] = {}
        for name in names:
            self._start(command, name)
            self._send(name, 1)
        self._heard()
        for name in list(self.workers):
            self._send(name, warm)
            self._heard([name])
        self.rates = {name: [] for name in self.workers}

    def _heard(self, names: list[str] | None = None) -> None:
        for name in list(self.workers) if names is None else names:
            try:
                answer = self._answer(name)
            except SystemExit:
                answer = {"failed": "its process ended; see log.txt"}
            if isinstance(answer, dict):
                self.failed[name] = answer["failed"]
                self.workers.pop(name).wait()


def measure(where: Setting, report: Report, seconds: float, command: list[str]) -> None:
    """Waves until all are done or the time is up; every one is kept as soon as it is known."""
    began = time.monotonic()
    matrix = read(report.path.with_name("machine.json")).get("matrix_tflops")
    waves: dict[str, Any] = report.content.get("waves", {})
    took = 0.0
    for wave in where.waves:
        if wave.name in waves:
            continue
        left = seconds - (time.monotonic() - began)
        if left < BESIDE or left < 0.8 * (took or (0.0 if where.dry else FIRST)):
            break
        started = time.monotonic()
        figures, failed = race(where, wave, command)
        rows = [row(one, figures.get(one.name), failed.get(one.name, ""), matrix, where) for one in wave.contestants]
        took = time.monotonic() - started
        waves[wave.name] = {"rows": rows, "seconds": took, "rounds": where.rounds, "steps": wave.steps}
        report.add(what="medians over rounds, interleaved", dtype="bfloat16", matrix_tflops=matrix, waves=waves)
    report.add(done=all(wave.name in waves for wave in where.waves), waves=waves)
    if not waves:
        raise UserError("table: there was no time for a wave")


def race(where: Setting, wave: Wave, command: list[str]) -> tuple[dict[str, Figures], dict[str, str]]:
    """A wave. What had no room beside the others gets the device for itself."""
    names = [one.name for one in wave.contestants]
    figures, failed = together(where, wave, command, names)
    for name, why in list(failed.items()):
        if why.startswith("out of memory") and len(names) > 1:
            alone, again = together(where, wave, command, [name])
            figures |= alone
            failed = {**{other: said for other, said in failed.items() if other != name}, **again}
    return figures, failed


def together(
    where: Setting, wave: Wave, command: list[str], names: list[str]
) -> tuple[dict[str, Figures], dict[str, str]]:
    """Figures of the contestants that ran, and why the others did not."""
    if not where.dry:  # a pool of compilers each
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(max(1, (os.cpu_count() or 1) // len(names)))
    turns = Together(command, names, warm=3)
    if not turns.workers:
        return {}, turns.failed
    try:
        return turns.run(where.rounds, wave.steps), turns.failed
    except (SystemExit, ValueError, OSError) as error:
        for worker in turns.workers.values():
            worker.kill()
        return {}, {name: f"the wave broke off: {error}" for name in turns.workers} | turns.failed


def row(one: Contestant, figures: Figures | None, why: str, matrix: float | None, where: Setting) -> dict[str, Any]:
    """A row. Operations are those that the recipe needs, whoever makes its step."""
    head = {"name": one.name, "recipe": one.recipe, "who": one.who, "rows": one.rows, "length": one.run.length}
    if figures is None:
        return {**head, "failed": why or "not timed"}
    operations = count(one.run, where.vocab.size).plain_total.token
    rate = figures.rate * operations / 1e12
    return {
        **head,
        "tokens_per_second": figures.rate,
        "lowest": figures.lowest,
        "highest": figures.highest,
        "step_seconds": one.rows * one.run.length / figures.rate,
        "operations_per_token": operations,
        "tflops": rate,
        "share_of_matrix_rate": rate / matrix if matrix else None,
        "peak_mib": figures.peak_mib,
        "ours": one.who == OURS,
    }
