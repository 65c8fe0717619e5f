"""Ours against the plain loop over transformers: ElectraForMaskedLM + ElectraForPreTraining, same sizes, same batch.

Every variant works in a process of its own, in turn with the others (turns.py); the figures are medians over rounds.

    python benchmarks/speed.py --size small --rounds 7 --out benchmarks/results/NAME.json
"""

import argparse
import json
import sys
import time
from itertools import count
from pathlib import Path

import torch
from ours import Training, rows_of, vocab_of
from plain import Loop
from turns import Gate, Turns, table

from electrain.compute import Compute
from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.objectives.rtd import Rtd
from electrain.run import Run
from electrain.start import machine, versions
from electrain.system import System

SIZES = {  # encoder, generator width, vocabulary, batch, length
    "tiny": (Bert.Config(layers=4, hidden=128, ffn=512, heads=2, embedding=128), 0.5, 8192, 64, 64),
    "small": (Bert.Config(), 0.25, 30522, 32, 128),
}
VARIANTS = {
    "transformers eager fp32": ("transformers", torch.float32, False),
    "transformers eager bf16": ("transformers", torch.bfloat16, False),
    "transformers compiled fp32": ("transformers", torch.float32, True),
    "transformers compiled bf16": ("transformers", torch.bfloat16, True),
    "electrain eager bf16": ("electrain", torch.bfloat16, False),
    "electrain compiled fp32": ("electrain", torch.float32, True),
    "electrain compiled bf16": ("electrain", torch.bfloat16, True),
}


def joint(size: str, dtype: torch.dtype, compiled: bool) -> Training:
    """The joint ELECTRA of a size."""
    encoder, width, vocabulary, rows, length = SIZES[size]
    system = System.Config(encoder, Joint.Config(width=width), Rtd.Config(), 50.0)
    run = Run(system, f"electra {size}", 1_000_000, rows, length)
    return Training(run, rows, torch.device("cpu"), vocab_of(vocabulary), dtype, compiled)


def work(size: str, variant: str) -> None:
    """A contestant."""
    gate = Gate()
    Compute().start()
    kind, dtype, compiled = VARIANTS[variant]
    encoder, width, vocabulary, rows, length = SIZES[size]
    if kind == "electrain":
        step = joint(size, dtype, compiled).step
    else:  # nothing of ours is built beside it: its peak memory is its own
        ids = rows_of(rows, length, vocab_of(vocabulary), torch.manual_seed(0))
        loop = Loop(encoder, width, vocabulary, ids, dtype, compiled)
        step = lambda _: loop.step()  # noqa: E731
    gate.open()
    for number in count():
        step(number)
        gate.step(rows * length)


def main() -> None:
    """Have the variants step in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of a variant in a round")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="variants to time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        return work(chosen.size, chosen.worker)
    native = Compute().precision(Compute().start()) == torch.bfloat16
    names = [name for name in chosen.only if native or not name.endswith("bf16")]  # emulated, it would be no contest
    figures = Turns([sys.executable, __file__, "--size", chosen.size, "--worker"], names).run(
        chosen.rounds, chosen.steps
    )
    _, _, _, rows, length = SIZES[chosen.size]
    theirs = [value for name, value in figures.items() if name.startswith("transformers")]
    ours = [value for name, value in figures.items() if name.startswith("electrain")]
    summary = {
        "what": "tokens a second of the joint ELECTRA step, interleaved, median of rounds",
        "size": chosen.size, "batch": rows, "length": length, "rounds": chosen.rounds, "steps": chosen.steps,
        "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
        "variants": {name: value._asdict() for name, value in figures.items()},
    }  # fmt: skip
    print(table(figures, "tokens"))
    if ours and theirs:
        best, own = (max(side, key=lambda value: value.rate) for side in (theirs, ours))
        summary["ratio_to_best_transformers"] = own.rate / best.rate
        summary["memory_to_best_transformers"] = own.peak_mib / best.peak_mib
        print(
            f"the best of ours to the best of transformers: {own.rate / best.rate:.2f} times its tokens a second, "
            f"{own.peak_mib / best.peak_mib:.2f} of its peak memory"
        )
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
