"""What a system saves against the joint ELECTRA whose generator it does without: step time, memory, operations.

Every system works in a process of its own, in turn with the others (turns.py). Rows are made up, weights fresh: neither
changes what a step costs. Operations are plain ones of a step (`electrain flops`).

The generator is ELECTRA's (narrow: a share of the width) or Fast-ELECTRA's (auxiliary: a few layers of the full width).

    python benchmarks/systems.py --size small --out benchmarks/results/NAME.json
    python benchmarks/systems.py --size base --generator auxiliary --rows 8
    python benchmarks/systems.py --systems joint adaptive_early_exit early_exit_discriminator emb_gen
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from ours import Training, in_turn, kept, vocab_of
from roofline import seconds
from turns import Turns, table

from electrain.compute import Compute
from electrain.corruptors.frozen import Frozen
from electrain.corruptors.joint import Joint
from electrain.encoders.masked_lm import EncoderLm
from electrain.flops import count
from electrain.objectives.rtd import Rtd
from electrain.recipes.embeddings import emb_gen
from electrain.recipes.kang import adaptive_early_exit, early_exit_discriminator
from electrain.recipes.sizes import SIZES
from electrain.run import Run
from electrain.start import machine, versions
from electrain.system import System

VOCABULARY = 30522
OTHERS = {run.__name__: run for run in (adaptive_early_exit, early_exit_discriminator, emb_gen)}
SYSTEMS = ("joint", "frozen", "cached", *OTHERS)


def described(name: str, args: argparse.Namespace) -> Run:
    """The run of a system at the size asked for."""
    size = SIZES[args.size]
    if name in OTHERS:
        run = OTHERS[name](size)
        return replace(run, batch=args.rows, length=args.length)
    width, depth = (
        (size.width, size.depth) if args.generator == "narrow" else (1.0, size.auxiliary / size.encoder.layers)
    )
    if name == "joint":
        system = System.Config(size.encoder, Joint.Config(rate=size.rate, width=width, depth=depth), Rtd.Config(), 50.0)
    elif name == "frozen":
        generator = EncoderLm.Config(size.encoder.scaled(width, depth))
        system = System.Config(size.encoder, Frozen.Config(generator=generator, rate=size.rate), Rtd.Config())
    else:
        system = System.Config(size.encoder, kept(size.rate, args.length), Rtd.Config())
    return size.run(name, system, batch=args.rows, length=args.length)


def training(name: str, args: argparse.Namespace, dtype: torch.dtype, compiled: bool) -> Training:
    """What makes the steps of a system."""
    return Training(described(name, args), args.rows, torch.device("cpu"), vocab_of(VOCABULARY), dtype, compiled)


def work(args: argparse.Namespace) -> None:
    """A contestant."""
    compute = Compute(compile=not args.eager)
    ours = training(args.worker, args, compute.precision(compute.start()), not args.eager)
    in_turn(ours)


def corruption(args: argparse.Namespace) -> float:
    """Seconds of the cached system's corruption of one batch, run eagerly: more than it takes inside the step."""
    ours = training("cached", args, torch.float32, False)
    assert isinstance(ours.system, System)
    corruptor, encoder = ours.system.corruptor, ours.system.encoder
    with torch.no_grad():
        return seconds(lambda: corruptor(ours.batches[0], encoder, torch.zeros(())))


def main() -> None:
    """Have the systems step in turn, print what each saves, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["joint", "frozen", "cached"])
    parser.add_argument(
        "--generator", choices=("narrow", "auxiliary"), default="narrow", help="ELECTRA's or Fast-ELECTRA's"
    )
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps of a system in a round")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=SYSTEMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    names = list(dict.fromkeys(["joint", *args.systems]))
    figures = Turns([sys.executable, __file__, *sys.argv[1:], "--worker"], names).run(args.rounds, args.steps)
    print(table(figures, "tokens"))
    work_of = {name: count(described(name, args), VOCABULARY).plain_total.step for name in names}
    one, found = figures["joint"], {}
    for name in names[1:]:
        it = figures[name]
        found[name] = {
            "speed": it.rate / one.rate, "time_saved": 1 - one.rate / it.rate,
            "memory_saved": 1 - it.peak_mib / one.peak_mib,
            "operations_saved": 1 - work_of[name] / work_of["joint"],
        }  # fmt: skip
        print(
            f"{name}: {it.rate / one.rate:.2f} times as fast; saves {found[name]['time_saved']:.1%} of the time, "
            f"{found[name]['memory_saved']:.1%} of the memory, {found[name]['operations_saved']:.1%} of the operations"
        )
    if "cached" in names:
        share = corruption(args) * figures["cached"].rate / (args.rows * args.length)
        found["cached"]["corruption_share"] = share
        print(f"cached: its corruption takes at most {share:.1%} of the step")
    if args.out:
        summary = {
            "what": "what systems save against the joint ELECTRA, interleaved, median of rounds",
            "size": args.size, "generator": args.generator, "batch": args.rows, "length": args.length,
            "compiled": not args.eager, "rounds": args.rounds, "steps": args.steps, "date": time.strftime("%Y-%m-%d"),
            "machine": machine(), "versions": versions(),
            "systems": {name: value._asdict() for name, value in figures.items()}, "saved": found,
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
