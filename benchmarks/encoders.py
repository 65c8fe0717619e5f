"""Recipes on several encoders, side by side: tokens a second and peak memory of a step, one after the other in turns.

Each works in a process of its own (turns.py). Rows are made up, weights fresh: neither changes what a step costs.

    python benchmarks/encoders.py --sizes tiny modern-tiny --eager --threads 1 --out benchmarks/results/NAME.json \\
        --recipes records/compared.py:mlm_15 records/compared.py:joint
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from ours import Training, in_turn, kept, vocab_of
from turns import Turns, table

from electrain.compute import Compute
from electrain.corruptors.cached import Cached
from electrain.flops import count
from electrain.recipes import recipe, sized
from electrain.recipes.sizes import SIZES
from electrain.run import Run
from electrain.start import machine, versions
from electrain.system import System


def described(name: str, args: argparse.Namespace) -> Run:
    """The run of a contestant, whose name is SIZE=RECIPE."""
    size, _, path = name.partition("=")
    run = sized(recipe(path), SIZES[size])
    run = replace(run, batch=args.rows or run.batch, length=args.length or run.length)
    if isinstance(run.system, System.Config) and isinstance(run.system.corruptor, Cached.Config):
        run = replace(run, system=replace(run.system, corruptor=kept(SIZES[size].rate, run.length)))
    return run


def shortened(names: list[str]) -> dict[str, str]:
    """SIZE=FUNCTION of contestants, recipes path/to/file.py:FUNCTION; with FILE where functions share a name."""
    found = {}
    for name in names:
        size, _, path = name.partition("=")
        file, _, function = path.rpartition(":")
        found[name] = f"{size}={function}", f"{size}={Path(file).stem}:{function}" if file else name
    plain = [one for one, _ in found.values()]
    return {name: one if plain.count(one) == 1 else other for name, (one, other) in found.items()}


def work(args: argparse.Namespace) -> None:
    """A contestant."""
    compute = Compute(compile=not args.eager, threads=args.threads)
    run, device = described(args.worker, args), compute.start()
    ours = Training(run, run.batch, device, vocab_of(args.vocabulary), compute.precision(device), not args.eager)
    in_turn(ours)


def main() -> None:
    """Have them step in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "modern-tiny"])
    parser.add_argument("--recipes", nargs="+", required=True, metavar="RECIPE", help="a name, or file.py:function")
    parser.add_argument("--rows", type=int, help="by default the recipe's")
    parser.add_argument("--length", type=int, help="by default the recipe's")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=0, help="0 for one a core")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="steps of each in a round")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    names = [f"{size}={path}" for path in args.recipes for size in args.sizes]
    found = Turns([sys.executable, __file__, *sys.argv[1:], "--worker"], names).run(args.rounds, args.steps)
    short = shortened(names)
    figures = {short[name]: value for name, value in found.items()}
    print(table(figures, "tokens"))
    if args.out:
        steps = {short[name]: count(described(name, args), args.vocabulary).plain_total.step for name in names}
        summary = {
            "what": "a step of each recipe on each encoder, interleaved, median of rounds",
            "sizes": args.sizes, "rows": args.rows, "length": args.length, "vocabulary": args.vocabulary,
            "compiled": not args.eager, "threads": args.threads or torch.get_num_threads(), "rounds": args.rounds,
            "steps": args.steps, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
            "figures": {name: value._asdict() | {"operations_a_step": steps[name]} for name, value in figures.items()},
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
