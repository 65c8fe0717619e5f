"""One of several processes of a run is killed, or stands still: the others end and name it, and the run goes on."""

import shutil
import signal
import socket
import time
from pathlib import Path

from .process import Command, Hung
from .world import Outcome, World, differing, one_line

RANKS = 3
STEPS = 60
_MINUTES = 0.1  # that a process may be silent
# What the others may say of one that is lost: while they run, and while they still look for each other.
_NAMED = "process {} does not answer"
_BEFORE = "the processes do not find each other"


def killed(world: World, tries: int, steps: int = STEPS) -> Outcome:
    """SIGKILL to one process at a random instant, from its start to its end."""
    return _lost(world, tries, steps, signal.SIGKILL)


def silent(world: World, tries: int, steps: int = STEPS) -> Outcome:
    """SIGSTOP to one process at a random instant of the training: after the time-out it is named."""
    return _lost(world, tries, steps, signal.SIGSTOP)


def _lost(world: World, tries: int, steps: int, number: signal.Signals) -> Outcome:
    words = lambda out: [*world.pretrain(out, steps), "--parallel.timeout", str(_MINUTES)]  # noqa: E731
    whole = world.fresh("ranks-whole")
    began = time.monotonic()
    for running in (alone := _start(world, words(whole))):
        if code := running.wait():
            raise RuntimeError(f"{RANKS} processes: exit code {code}: {alone[0].said[-500:]}")
    seconds, lost, named, late = time.monotonic() - began, [], 0, 0
    for each in range(tries):
        out, who = world.fresh("ranks-cut"), each % RANKS
        running = _start(world, words(out))
        if number == signal.SIGSTOP:
            _wait_for_training(running[0], out)
        time.sleep(world.random.uniform(0, seconds / 2))
        running[who].send(number)
        others = [command for command in running if command is not running[who]]
        try:
            codes = [command.wait() for command in others]
        except Hung as error:
            lost.append(f"process {who} {number.name}: another: {error}")
            codes = []
        running[who].kill()
        said = [one_line(command.said) for command in others]
        if not any(codes):
            late += 1  # the run had ended
        elif set(codes) != {2} or not any(_NAMED.format(who) in line or _BEFORE in line for line in said):
            lost.append(f"process {who} {number.name}: exit codes {codes}: {[other.said[-300:] for other in others]}")
        else:
            named += any(_NAMED.format(who) in line for line in said)
        again = _start(world, words(out))
        if any([command.wait() for command in again]) or (how := differing(whole, out)):
            lost.append(f"process {who} {number.name}: {again[0].said[-300:] if again[0].process.exitcode else how}")
    shutil.rmtree(whole)
    return Outcome(tries, lost, {"processes": RANKS, "named": named, "ended before": late})


def _start(world: World, words: list[str]) -> list[Command]:
    """The command on several processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    return [
        world.start(words, environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(RANKS)
    ]


def _wait_for_training(running: Command, out: Path) -> None:
    """Until a window of steps has been logged."""
    log = out / "metrics.jsonl"
    while running.running() and not (log.exists() and log.stat().st_size):
        time.sleep(0.002)
