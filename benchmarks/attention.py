"""Attention on a CPU: the fused kernel against the plain form, as what a training step of several encoders takes.

Contestants in turn (turns.py): every size twice, with PyTorch's kernel alone and with whichever `attended` takes.

    python benchmarks/attention.py --sizes tiny modern-tiny small modern-small \\
        --threads 1 --out benchmarks/results/NAME.json
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from ours import Training, in_turn, vocab_of
from turns import Turns, table

from electrain.compute import Compute, number_format
from electrain.encoders.attention import fused
from electrain.recipes import recipe, sized
from electrain.recipes.sizes import SIZES
from electrain.start import machine, versions

WAYS = ("fused", "chosen")


def work(args: argparse.Namespace) -> None:
    """A contestant, WAY:SIZE."""
    way, size = args.worker.split(":")
    compute = Compute(dtype=args.dtype, compile=not args.eager, threads=args.threads)
    device = compute.start()
    run = sized(recipe(args.recipe), SIZES[size])
    rows = args.rows or run.batch
    with fused() if way == "fused" else nullcontext():
        in_turn(Training(run, rows, device, vocab_of(args.vocabulary), compute.precision(device), compute.compile))


def main() -> None:
    """Have them step in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "modern-tiny"])
    parser.add_argument("--recipe", default="electra")
    parser.add_argument("--rows", type=int, help="by default the recipe's")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="0 for one a core")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps of each in a round")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    names = [f"{way}:{size}" for size in args.sizes for way in WAYS]
    found = Turns([sys.executable, __file__, *sys.argv[1:], "--worker"], names).run(args.rounds, args.steps)
    print(table(found, "tokens"))
    for size in args.sizes:
        print(f"{size}: {found[f'chosen:{size}'].rate / found[f'fused:{size}'].rate:.2f} times as fast")
    if args.out:
        compute = Compute(dtype=args.dtype)
        dtype = number_format(compute.precision(compute.start()))
        summary = {
            "what": "a step with the fused attention kernel, and with what is chosen for CPUs; interleaved, medians",
            "recipe": args.recipe, "rows": args.rows, "vocabulary": args.vocabulary, "dtype": dtype,
            "compiled": not args.eager, "threads": args.threads or torch.get_num_threads(), "rounds": args.rounds,
            "steps": args.steps, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
            "figures": {name: value._asdict() for name, value in found.items()},
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
