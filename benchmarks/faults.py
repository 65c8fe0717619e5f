"""Faults: what is killed, filled up, damaged or doubled loses nothing and trains on nothing wrong.

    python benchmarks/faults.py                                 # everything: some 20 minutes on one core
    python benchmarks/faults.py --only kill damage --tries 0.1  # some cases, a tenth of the tries

A line a case: tries, losses, and what was noticed. --out writes it as JSON after every case, beside what other cases
have left there. Exit code 1 if anything was lost.
Processes are real, forked from one that has imported electrain (faults/process.py); all else is in faults/.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from faults import damage, disks, kills, memory, ranks, two
from faults.world import Outcome, World
from rich.console import Console
from rich.table import Table

from electrain.start import machine, versions


class Case(NamedTuple):
    """A row of the table: what is tried, how often, and by what."""

    name: str
    tries: int
    call: Callable[[World, int], Outcome]


CASES = (
    Case("kill: pretrain, SIGKILL", 100, kills.pretrain),
    Case("kill: pretrain, SIGTERM and Ctrl-C", 12, kills.stopped),
    Case("kill: one of three processes", 12, ranks.killed),
    Case("stop: one of three processes stands still", 6, ranks.silent),
    Case("kill: prepare, SIGKILL", 8, partial(kills.verb, name="prepare")),
    Case("kill: cache, SIGKILL", 8, partial(kills.verb, name="cache")),
    Case("kill: finetune, SIGKILL", 4, partial(kills.verb, name="finetune")),
    Case("kill: study, SIGKILL", 2, partial(kills.verb, name="study")),
    Case("disk: no file beyond a size", 5, disks.limited),
    Case("disk: full", 5, disks.full),
    Case("disk: read-only", 5, disks.read_only),
    Case("disk: quota", 1, disks.quota),
    Case("disk: a file where the folder should be", 5, disks.file),
    Case("damage: checkpoint", 1, damage.checkpoint),
    Case("damage: whole checkpoint exchanged", 2, damage.exchanged),
    Case("damage: run folder", 1, damage.run_folder),
    Case("damage: shards and manifest", 2, damage.data),
    Case("damage: cache", 2, damage.cache),
    Case("two: on one folder", 5, two.refused),
    Case("memory: many steps", 20_000, memory.steps),
    Case("memory: sparse corpus of 50 GB", 1, memory.sparse),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name holds one of these words")
    parser.add_argument("--tries", type=float, default=1.0, help="share of the tries of every case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder to work in, kept; without it, one that goes at the end")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lost = run(World(args.work or Path(folder), args.seed), args.only, args.tries, args.out)
    sys.exit(lost > 0)


def run(world: World, only: list[str], share: float, out: Path | None) -> int:
    """Every case that was asked for, a line each, the table at the end. Returns the number of losses."""
    console, losses = Console(highlight=False), 0
    table = Table("case", "tries", "lost", "seconds", "noticed")
    for case in CASES:
        if only and not any(word in case.name for word in only):
            continue
        began = time.monotonic()
        try:
            outcome = case.call(world, max(1, round(case.tries * share)))
        except Exception as error:  # one case that cannot be tried must not hide the others
            outcome = Outcome(0, [f"not tried: {type(error).__name__}: {error}"])
        seconds = round(time.monotonic() - began, 1)
        losses += len(outcome.lost)
        if out is not None:
            keep(out, {"case": case.name, "seconds": seconds, **outcome._asdict()})
        noticed = outcome.skipped or ", ".join(f"{name}: {value}" for name, value in outcome.notes.items())
        row = [case.name, f"{outcome.tries:,}", str(len(outcome.lost)), f"{seconds:.0f}", noticed]
        table.add_row(*row)
        print("  ".join(row), *outcome.lost, sep="\n    ", file=sys.stderr, flush=True)
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    return losses


def keep(out: Path, result: dict[str, Any]) -> None:
    """Write a case's result in the place that it has in CASES; of the others what is there stays."""
    there = json.loads(out.read_text())["cases"] if out.exists() else []
    found = {case["case"]: case for case in [*there, {**result, "versions": versions()}]}
    cases = [found[case.name] for case in CASES if case.name in found]
    out.write_text(json.dumps({"machine": machine(), "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
