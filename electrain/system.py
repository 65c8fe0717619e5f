"""corrupt -> encode -> score: the system that all published pairs of corruptor and objective are."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch
from electrain.cost import Work
from electrain.metrics import value
from electrain.systems.base import Output
from electrain.systems.pair import Pair
from electrain.vocab import Vocab


@final
class System(Pair):
    """A corruptor, the encoder that is being pre-trained, and an objective; nothing beside them."""

    @dataclass(frozen=True)
    class Config(Pair.Config):
        """The three parts and the weight between them."""

        def build(self, vocab: Vocab) -> "System":
            return System(self, vocab)

    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        return self.cost_of_reading(length, vocab_size)

    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        _, loss, metrics = self.read(batch, progress)
        return Output(loss, {"loss": value(loss), **metrics})
