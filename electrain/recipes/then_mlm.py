"""ELECTRA with a last stretch of masked LM, ours: a cheap remedy for what replaced tokens leave undone in its vectors.

What a discriminator needs last is a verdict on each token, and its sentence vectors are weak at similarity; a masked LM
must say what a text is about. One command trains both stages: ELECTRA in OUT/first, whose options begin with --first,
then the masked LM, which takes the discriminator's encoder and leaves its generator and head behind.
"""

from dataclasses import replace

from electrain.corruptors.mask import Mask
from electrain.objectives.mlm import Mlm
from electrain.recipes.electra import electra
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electra_then_mlm(size: Size = BASE) -> Run:
    """ELECTRA, then masked LM for the last tenth of the steps, started from the discriminator's encoder (ours).

    80/10/10 as BERT has it. The second stage has a warm-up and a decay of its own; its head is fresh, but the output
    table is the discriminator's token table. Share, learning rate and warm-up are defaults to sweep.

    electrain pretrain electra_then_mlm --data DIR --out RUN [--first.steps N --steps N]
    """
    last = max(1, size.steps // 10)
    before = max(1, size.steps - last)
    name = "electra_then_mlm"
    masked_lm = System.Config(size.encoder, Mask.Config(rate=size.rate, encoder_start="first"), Mlm.Config())
    optim = replace(size.optim, warmup=min(size.optim.warmup, last // 10))
    return size.run(
        name,
        masked_lm,
        steps=last,
        optim=optim,
        first=replace(electra(size), recipe=name, steps=before),
    )
