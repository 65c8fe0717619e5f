"""Hybrids: two corruptors propose for the same places, and a moving share takes the first one's samples.

Fast-ELECTRA compares model-free and model-based curricula and leaves their combination open (Dong et al., 2024,
conclusion); this one moves from the one to the other. Its form is ours.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, Reader, scatter
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.cost import Shape, Work
from electrain.curriculum import ONE, Schedule
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import Metrics, mean
from electrain.randomness import Stream, uniform
from electrain.source import Source
from electrain.vocab import Vocab

MOVING = Schedule("linear", start=1.0, end=0.0)
"""All places from the first corruptor at the beginning, none at the end; ours."""


@final
class Mixture(Corruptor):
    """Runs both corruptors, and decides at every selected place whose sample stands there.

    What a corruptor would learn from the objective's verdict (`feedback`) it does not learn here.
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """Two corruptors that select alike: the same row then has the same places in both."""

        first: Corruptor.Config
        """Where training begins (model-free)."""
        second: Corruptor.Config
        """Where it goes (model-based)."""
        share: Schedule = MOVING
        """The share of the selected places that take the first one's sample."""

        def __post_init__(self) -> None:
            if not 0 <= min(self.share.values) <= max(self.share.values) <= 1:
                raise UserError("corruptor: share must stay between 0 and 1")
            one, other = _selecting(self.first), _selecting(self.second)
            if one != other:
                differ = "; ".join(f"{key} {one[key]} and {other[key]}" for key in one if one[key] != other[key])
                raise UserError(f"corruptor: the two of a mixture must select the same places ({differ})")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Mixture":
            return Mixture(self, vocab, encoder)

        def check(self, length: int) -> None:
            self.first.check(length)
            self.second.check(length)

        def resolve(self, source: Source) -> "Mixture.Config":
            return replace(self, first=self.first.resolve(source), second=self.second.resolve(source))

        def reader(self, source: Source, packing: Packing) -> Reader | None:
            readers = [self.first.reader(source, packing), self.second.reader(source, packing)]
            found = [reader for reader in readers if reader is not None]
            if len(found) == 2:
                raise UserError("corruptor: only one of a mixture may read beside the text")
            return found[0] if found else None

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config = config
        self.first = config.first.build(vocab, encoder)
        self.second = config.second.build(vocab, encoder)

    def start(self, source: Source, encoder: Encoder) -> str:
        said = self.first.start(source, encoder), self.second.start(source, encoder)
        return "; ".join(filter(None, said))

    def before(self, step: int, seed: int) -> None:
        self.first.before(step, seed)
        self.second.before(step, seed)

    def variant(self) -> Hashable:
        variants = self.first.variant(), self.second.variant()
        return None if variants == (None, None) else variants

    def after(self, step: int, metrics: Metrics) -> None:
        for name, part in (("first_", self.first), ("second_", self.second)):
            own = {key.removeprefix(name): value for key, value in metrics.items() if key.startswith(name)}
            part.after(step, own)

    def selected(self, length: int) -> int:
        return self.first.selected(length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return self.first.cost(shape, encoder) + self.second.cost(shape, encoder)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        one = self.first(batch, encoder, progress)
        other = self.second(batch, encoder, progress)
        if one.delta is not None or other.delta is not None:
            raise UserError("corruptor: a mixture takes corruptors that change tokens, not embeddings")
        picked = one.picked  # the other's too: of the same key and rate
        taken = uniform(batch.key, Stream.MIXTURE, picked.index) < self.config.share(progress)
        old, mine, theirs = (ids.gather(1, picked.index) for ids in (batch.ids, one.ids, other.ids))
        new = torch.where(taken, mine, theirs)
        ids = scatter(batch.ids, picked, new)
        replaced = ids != batch.ids
        metrics = {f"first_{key}": value for key, value in one.metrics.items()}
        metrics |= {f"second_{key}": value for key, value in other.metrics.items()}
        metrics |= {
            "replaced": mean(replaced, batch.real),
            "first_share": mean(taken, picked.valid),
            # Of the places that took the part's own sample; what it proposed elsewhere counts for nothing.
            "first_replaced": mean(new != old, picked.valid & taken),
            "second_replaced": mean(new != old, picked.valid & ~taken),
        }
        return Corrupted(ids, picked, replaced, None, one.loss + other.loss, metrics)


def _selecting(config: Corruptor.Config) -> dict[str, object]:
    """What decides the places that a corruptor selects."""
    if not hasattr(config, "rate"):
        raise UserError(
            f"corruptor: a mixture takes corruptors that select a rate; {type(config).__qualname__} has none"
        )
    usual = {"rate": None, "selection": ONE, "replacement": False}
    return {name: getattr(config, name, value) for name, value in usual.items()}
