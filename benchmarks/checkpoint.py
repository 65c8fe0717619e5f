"""What a checkpoint costs training: the time that a step waits for it, and the time until it is on the disk.

One process, the recipe's own sizes with fresh weights; steps go on while a thread writes.

    python benchmarks/checkpoint.py --recipes electra_small electra_base --out benchmarks/results/checkpoint-NAME.json
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from ours import Training, vocab_of

from electrain.checkpoint import Saver
from electrain.compute import Compute
from electrain.recipes import published
from electrain.run import Run
from electrain.start import machine, versions

VOCABULARY = 30522
STEPS = 4  # between two checkpoints, so that a step meets the thread at its work


def measure(run: Run, rounds: int, rows: int, folder: Path) -> dict[str, float]:
    """Seconds of a checkpoint, medians of rounds: a step's wait, the thread's work, a step beside it."""
    device = Compute().start()
    ours = Training(run, rows, device, vocab_of(VOCABULARY), Compute().precision(device), compile=False)
    ours.step(0)
    held, work, beside, alone, size = [], [], [], [], 0
    for number in range(rounds):
        with Saver(folder, keep=1) as saver:
            began = time.perf_counter()
            path = saver.save(number + 1, ours.system, ours.optimizer, {})
            held.append(saver.seconds)
            ours.step(number)
            beside.append(time.perf_counter() - began - held[-1])
            saver.wait()
            work.append(time.perf_counter() - began)
        size = sum(file.stat().st_size for file in path.rglob("*"))
        for step in range(STEPS):
            began = time.perf_counter()
            ours.step(step)
            alone.append(time.perf_counter() - began)
    step = statistics.median(alone)
    lost = statistics.median(held) + max(0.0, statistics.median(beside) - step)
    return {
        "bytes": size,
        "held_up": statistics.median(held),
        "until_on_disk": statistics.median(work),
        "step": step,
        "step_beside": statistics.median(beside),
        "lost_share": lost / (60 * run.save_minutes),
    }


def main() -> None:
    """Print a line a recipe, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=sorted(published()), default=["electra_small", "electra_base"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4, help="rows of a step; a checkpoint costs the same with any")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {}
    for name in args.recipes:
        run = published()[name]()
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(run, args.rounds, args.rows, Path(folder))
        at = found[name]
        print(
            f"{name:<24}{at['bytes'] / 1e6:>8.0f} MB  held up {at['held_up']:.3f} s  on the disk after "
            f"{at['until_on_disk']:.2f} s  a step beside it {at['step_beside'] / at['step']:.2f} times as long  "
            f"lost, one every {run.save_minutes:g} minutes: {at['lost_share']:.3%}"
        )
    if args.out:
        summary = {
            "what": "seconds of a checkpoint", "date": time.strftime("%Y-%m-%d"), "machine": machine(),
            "versions": versions(), "recipes": found,
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
