"""Go on training a published ELECTRA on text of your own domain, and see on held-out text whether it helped.

    python examples/domain.py --model google/electra-small-discriminator --generator google/electra-small-generator \
        --text my/texts --out runs/domain

--model and --generator are folders or Hub names of ELECTRAs in transformers' format. The data are made with the model's
own tokenizer, the run takes the model's own sizes. At the end the same held-out text, with 15 % of its words exchanged
by frequency, is judged by the model as it was and as it is now. The run is for `electrain finetune`, the export for
transformers.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from electrain import checkpoint
from electrain.compute import Compute
from electrain.data import frequencies
from electrain.data.loader import Loader
from electrain.data.prepare import prepare
from electrain.data.settings import Prepare
from electrain.data.shards import Shards
from electrain.errors import Stopped, UserError
from electrain.hub import export, from_transformers, load_into
from electrain.judge import Verdict, judge
from electrain.optim.adam import Adam
from electrain.run import Run
from electrain.systems.base import Pretraining
from electrain.train import pretrain


def main() -> None:
    """Data with the model's tokenizer, training, two verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="an ELECTRA discriminator: a folder or a Hub name")
    parser.add_argument("--generator", help="its generator; without it the generator starts fresh")
    parser.add_argument("--text", nargs="+", required=True, help="files or folders, documents apart by blank lines")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-4, help="a tenth to a fifth of what pre-training had")
    parser.add_argument("--compile", type=int, default=1, help="0: start at once, and run slower")
    chosen = parser.parse_args()
    data, out = chosen.out / "data", chosen.out / "run"

    prepare(
        Prepare(corpus=tuple(chosen.text), documents="blank-lines", tokenizer=chosen.model, validation=0.05, out=data)
    )
    before = from_transformers(chosen.model, chosen.generator)
    print(before.said)
    run = Run(
        system=before.config, recipe="domain", steps=chosen.steps, batch=chosen.batch, length=chosen.length,
        optim=Adam(lr=chosen.lr, warmup=max(1, chosen.steps // 20)), log_every=50, eval_every=500, save_every=1_000,
        compute=Compute(compile=bool(chosen.compile)),
    )  # fmt: skip
    fill = partial(load_into, encoder=chosen.model, generator=chosen.generator, tokenizer=data / "tokenizer")
    path = pretrain(run, data, out, "examples/domain.py", fill)

    after = run.system.build(before.vocab)
    checkpoint.load_weights(after, path)
    print("\nHeld-out text with 15 % of its words exchanged by frequency:\n")
    print(f"  {'':24}{'AUC':>8}{'found':>8}{'accuracy':>10}")
    for name, system in (("as published", before.system), (f"after {chosen.steps} steps", after)):
        seen = verdict(system, data, replace(run, batch=min(run.batch, 32)))
        print(f"  {name:24}{seen.auc:8.3f}{seen.found:8.1%}{seen.accuracy:10.1%}")
    print(f"  {'a guess by frequency':24}{seen.unigram_auc:8.3f}{'':8}{seen.majority:10.1%}  (all called original)")

    folder = export(out, chosen.out / "model")
    print(
        f"\nnext: electrain finetune classify --model {out} --data reviews.csv --out {chosen.out / 'judged'} --seeds 5"
    )
    print(f"      the same with --model {chosen.model}, to see what the domain gave; the export is {folder}")


def verdict(system: Pretraining, data: Path, run: Run) -> Verdict:
    """What a discriminator makes of words swapped by frequency, in up to 256 held-out rows."""
    shards = Shards.open(data, "validation")
    loader = Loader(run.packing.build(shards, run.length), shards.vocab, batch=run.batch, seed=1)
    return judge(system, loader, 256, frequencies.load(data))[0]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except Stopped as stopped:  # everything is saved, and how to go on has been said
        sys.exit(128 + stopped.number)
