"""What systems of a corruptor and an objective share: corrupt -> encode -> score."""

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, Reader
from electrain.corruptors.base import Corruptor
from electrain.cost import Shape, Work
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.metrics import Metrics
from electrain.objectives.base import Objective
from electrain.randomness import Stream, drop
from electrain.source import Source
from electrain.systems.base import Pretraining, Split
from electrain.vocab import Vocab


class Read(NamedTuple):
    """The damaged text as the encoder read it (b, t, d), the loss () of both parts, and their metrics."""

    hidden: Float[Tensor, "b t d"]
    loss: Float[Tensor, ""]
    metrics: Metrics


class Pair(Pretraining):
    """A corruptor, the encoder that is being pre-trained, and an objective."""

    @dataclass(frozen=True)
    class Config(Pretraining.Config):
        """The three parts and the weight between them."""

        encoder: Encoder.Config
        """The encoder that is being pre-trained."""
        corruptor: Corruptor.Config
        """What proposes the tokens at the selected places."""
        objective: Objective.Config
        """What is asked of the encoder."""
        weight: float = 1.0
        """Weight of the objective's loss beside the corruptor's own (lambda; ELECTRA: 50)."""

        @abstractmethod
        def build(self, vocab: Vocab) -> "Pair":
            """The system with fresh weights."""

        def check(self, length: int) -> None:
            super().check(length)
            self.corruptor.check(length)

        def resolve(self, source: Source) -> "Pair.Config":
            return replace(self, corruptor=self.corruptor.resolve(source))

        def reader(self, source: Source, packing: Packing) -> Reader | None:
            return self.corruptor.reader(source, packing)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.weight = config.weight
        self.encoder = config.encoder.build(vocab)
        self.corruptor = config.corruptor.build(vocab, self.encoder)
        self.objective = config.objective.build(vocab, self.encoder)

    def start(self, source: Source) -> str:
        return self.corruptor.start(source, self.encoder)

    def beside(self, rows: int, length: int) -> tuple[Tensor, ...]:
        return self.corruptor.beside(rows, length)

    def before(self, step: int, seed: int) -> None:
        self.corruptor.before(step, seed)

    def variant(self) -> Hashable:
        return self.corruptor.variant()

    def after(self, step: int, metrics: Metrics) -> None:
        self.corruptor.after(step, metrics)

    def split(self) -> Split:
        return Split(self.encoder.embeddings, self.encoder, self.objective, self.corruptor)

    def cost_of_reading(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        """What `read` costs for one row of `length` tokens (see `cost.py`)."""
        shape = Shape(length, self.corruptor.selected(length), vocab_size)
        aside = self.corruptor.cost(shape, self.encoder)
        return *aside, *self.encoder.cost(shape), *self.objective.cost(shape, self.encoder)

    def read(self, batch: Batch, progress: Float[Tensor, ""]) -> Read:
        """Damage the text, read it, score it, and let the corruptor learn from the score."""
        seen = self.corruptor(batch, self.encoder, progress)
        source = drop(batch.key, Stream.DISCRIMINATOR) if self.training else None
        hidden = self.encoder(seen.ids, batch.real, batch.segments, drop=source, delta=seen.delta)
        scored = self.objective(hidden, seen, batch, self.encoder)
        loss = seen.loss + self.weight * scored.loss
        metrics = {**seen.metrics, **scored.metrics}
        if scored.logits is not None:
            learnt = self.corruptor.feedback(seen, scored.logits, batch)
            if learnt is not None:
                loss = loss + learnt.loss
                metrics |= learnt.metrics
        return Read(hidden, loss, metrics)
