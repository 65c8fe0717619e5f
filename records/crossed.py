"""Discriminators on samples that are not their own: python records/crossed.py --data DATA RUN OTHER ...

The verdicts of every run's encoder on what RUN's generator proposes (a joint or a frozen one), on RUN's held-out rows,
at the temperatures of half of the run and of its end; RUN's own first. The others have its encoder and objective.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from electrain import checkpoint
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.hub.export import checkpoint_of
from electrain.run import Record, Run
from electrain.system import System
from electrain.train import evaluate
from electrain.vocab import Vocab

SHOWN = ("temperature", "replaced", "rtd_loss", "rtd_auc")


def trained(folder: Path, vocab: Vocab) -> tuple[Run, System]:
    """A run and what it has learnt."""
    run = Record.load(folder).run
    system = run.system.build(vocab)
    if not isinstance(system, System):
        raise SystemExit(f"{folder}: is no pair of a corruptor and an objective")
    checkpoint.load_weights(system, checkpoint_of(folder, "latest", print))
    return run, system


def main() -> None:
    """A line a run and moment; the temperature where the corruptor tells it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=512, help="held-out rows")
    chosen = parser.parse_args()
    shards = Shards.open(chosen.data, "validation")
    run, asked = trained(chosen.runs[0], shards.vocab)
    loader = Loader(run.packing.build(shards, run.length), shards.vocab, batch=run.batch, seed=run.seed)
    for folder in chosen.runs:
        _, judge = trained(folder, shards.vocab)
        judge.corruptor = asked.corruptor  # with the tables that it shares with its own encoder
        for at in (0.5, 1.0):
            found = evaluate(judge, loader, replace(run, eval_rows=chosen.rows), torch.float32, torch.device("cpu"), at)
            said = "  ".join(f"{name} {found[name]:.4f}" for name in SHOWN if name in found)
            print(f"{folder} at {at:.0%}  {said}", flush=True)


if __name__ == "__main__":
    main()
