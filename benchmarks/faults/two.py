"""Two processes on one folder: the second is refused, and told who the first is; a dead one holds nothing."""

import os
import signal
import time
from collections.abc import Sequence

from .disks import VERBS
from .world import Outcome, World, one_line

_HELD = {"prepare": ".work/lock", "cache": ".work/lock", "finetune": "classify/.lock"}


def refused(world: World, tries: int, verbs: Sequence[str] = VERBS) -> Outcome:
    """The first stands still (SIGSTOP) while the second tries; it is then killed, and the third takes its place."""
    lost = []
    for name in verbs[:tries]:
        out = world.fresh(f"two-{name}")
        words = getattr(world, name)(out)
        first = world.start(words)
        lock = out / _HELD.get(name, ".lock")
        while first.running() and not (lock.exists() and lock.stat().st_size):
            time.sleep(0.001)
        if not first.running():
            lost.append(f"{name}: ended without a lock: {first.said[-200:]}")
            continue
        first.send(signal.SIGSTOP)
        code, said = world.call(words)
        line = one_line(said)
        if code != 2 or f"pid {first.pid}" not in line or f"host {os.uname().nodename}" not in line:
            lost.append(f"{name}: the second: exit code {code}: {said[-300:]}")
        first.kill()
        code, said = world.call(words)
        if code:
            lost.append(f"{name}: after the first was killed: exit code {code}: {said[-300:]}")
    return Outcome(len(verbs[:tries]), lost)
