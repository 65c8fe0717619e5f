"""What a frozen generator saves beside the same one trained jointly (Dong et al., 2024): operations and memory."""

from dataclasses import replace
from typing import NamedTuple

import torch

from electrain.corruptors.frozen import Frozen
from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.flops import count
from electrain.hub.load import generator_scale_of
from electrain.memory import measure
from electrain.run import Run
from electrain.system import System
from electrain.vocab import Vocab


class Savings(NamedTuple):
    """Frozen divided by joint; 0.8 saves a fifth.

    operations: plain ones of a step, look-ups free
    generator:  of them the generator's own; a third where only the backward pass is gone
    memory:     of a step: weights, gradients, Adam's means, activations at their peak
    kept:       what the forward pass keeps for the backward pass
    """

    operations: float
    generator: float
    memory: float
    kept: float


def savings(run: Run, vocab: Vocab, rows: int | None = None, dtype: torch.dtype = torch.bfloat16) -> Savings:
    """Of a run with a frozen generator against `joint(run)`; memory for `rows` rows at once (all of a micro-batch)."""
    other = joint(run)
    one, two = count(run, vocab.size), count(other, vocab.size)
    less, more = measure(run, vocab, rows, dtype), measure(other, vocab, rows, dtype)
    own, theirs = (sum(work.step for part, work in cost.plain.items() if "generator" in part) for cost in (one, two))
    return Savings(
        one.plain_total.step / two.plain_total.step, own / theirs, less.total / more.total, less.saved / more.saved
    )


def joint(run: Run) -> Run:
    """ELECTRA with the same generator trained jointly, embeddings shared, the discriminator's loss weighing 50.

    UserError if the run's generator is not frozen, or no scaled copy of its encoder.
    """
    system = run.system
    frozen = system.corruptor if isinstance(system, System.Config) else None
    generator = frozen.generator if isinstance(frozen, Frozen.Config) else None
    if not isinstance(generator, EncoderLm.Config):
        raise UserError("savings: the run has no frozen generator of our own encoder to compare with a joint one")
    assert isinstance(system, System.Config) and isinstance(frozen, Frozen.Config)
    encoder, sizes = system.encoder, generator.encoder
    assert isinstance(encoder, Bert.Config) and isinstance(sizes, Bert.Config)
    width, depth = generator_scale_of(encoder, sizes)
    trained = Joint.Config(rate=frozen.rate, width=width, depth=depth, masked=frozen.masked)
    return replace(run, recipe="joint", system=replace(system, corruptor=trained, weight=50.0))
