"""Signals at any instant: what is killed or stopped goes on and ends as if nothing had been done to it."""

import os
import shutil
import signal
import time
from pathlib import Path

from .process import Command, Hung
from .world import Outcome, World, contents, differing

STEPS = 100
_PER_RUN = 10  # kills of one run, one after the other, before it may end


def pretrain(world: World, tries: int, steps: int = STEPS) -> Outcome:
    """SIGKILL at random instants of a run; every second one while a checkpoint is being written."""
    words = lambda out: world.pretrain(out, steps)  # noqa: E731
    whole = world.fresh("kill-whole")
    seconds = world.timed(words(whole))
    lost: list[str] = []
    halves = done = runs = early = 0
    while done < tries:
        out, runs, here = world.fresh("kill-cut"), runs + 1, 0
        while here < min(_PER_RUN, tries - done):
            running = world.start(words(out))
            if (done + here) % 2:
                _wait_for_writing(running, out, world.random.uniform(0, seconds / 3))
                time.sleep(world.random.uniform(0, 0.02))
            else:
                time.sleep(world.random.uniform(0, seconds / 2))
            if running.kill() != -signal.SIGKILL:
                early += 1
                if running.process.exitcode:
                    lost.append(f"run {runs}, after {here} kills: exit code {running.process.exitcode}: {running.said}")
                break
            here += 1
            halves += any((out / "checkpoints").glob(".*"))
        done += here
        code, said = world.call(words(out))
        if code or (how := differing(whole, out)):
            lost.append(f"run {runs}, killed {here} times: {said[-300:] if code else how}")
    shutil.rmtree(whole)
    notes = {
        "runs": runs,
        "steps": steps,
        "seconds of a run": round(seconds, 2),
        "checkpoints left half-written": halves,
    }
    return Outcome(done, lost, {**notes, "ended before the kill": early})


def _wait_for_writing(running: Command, out: Path, after: float) -> None:
    """Until a checkpoint is begun, the first one after some time."""
    time.sleep(after)
    folder = out / "checkpoints"
    while running.running():
        try:
            if any(entry.name.startswith(".writing") for entry in os.scandir(folder)):
                return
        except FileNotFoundError:
            pass
        time.sleep(0.0005)


def stopped(world: World, tries: int, steps: int = STEPS) -> Outcome:
    """SIGTERM, Ctrl-C and two Ctrl-C at random instants of a run: it leaves with the signal's code and goes on."""
    whole = world.fresh("stop-whole")
    seconds = world.timed(world.pretrain(whole, steps))
    lost, codes = [], {}
    for number in range(tries):
        kind = ("SIGTERM", "Ctrl-C", "Ctrl-C twice")[number % 3]
        out = world.fresh("stop-cut")
        running = world.start(world.pretrain(out, steps))
        time.sleep(world.random.uniform(0.2, 0.9) * seconds)
        running.send(signal.SIGTERM if kind == "SIGTERM" else signal.SIGINT)
        if kind == "Ctrl-C twice":
            time.sleep(world.random.uniform(0, 0.03))
            running.send(signal.SIGINT)
        code = running.wait()
        codes[f"{kind}: {code}"] = codes.get(f"{kind}: {code}", 0) + 1
        # Before the first step SIGTERM ends a process as it ends any other; so does Ctrl-C after the last.
        if code not in (0, 130, 143, -signal.SIGTERM, -signal.SIGINT) or "Traceback" in running.said:
            lost.append(f"{kind}: exit code {code}: {running.said[-300:]}")
        code, said = world.call(world.pretrain(out, steps))
        if code or (how := differing(whole, out)):
            lost.append(f"{kind}: {said[-300:] if code else how}")
    shutil.rmtree(whole)
    return Outcome(tries, lost, {"exit codes": codes})


def verb(world: World, tries: int, name: str) -> Outcome:
    """SIGKILL at random instants of another verb; the same command ends with the same folder."""
    words = getattr(world, name)
    whole = world.fresh(f"{name}-whole")
    seconds, expected = world.timed(words(whole)), dict(contents(whole))
    lost, early = [], 0
    for number in range(tries):
        out = world.fresh(f"{name}-cut")
        for _ in range(1 + number % 3):  # some are killed once more while they go on
            running = world.start(words(out))
            time.sleep(world.random.uniform(0.05, 0.95) * seconds)
            early += running.kill() == 0
        try:
            code, said = world.call(words(out))
        except Hung as error:
            lost.append(f"{name}: {error}")
            continue
        if code:
            lost.append(f"{name}: exit code {code}: {said[-500:]}")
            continue
        found = dict(contents(out))
        if other := sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key)):
            lost.append(f"{name}: {', '.join(other[:5])} differ")
    notes = {"seconds uninterrupted": round(seconds, 2), "ended before the kill": early, "files": len(expected)}
    return Outcome(tries, lost, notes)
