"""What the training loop calls, whatever it is that is trained."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from electrain.batch import Batch, Reader
from electrain.cost import Work
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.metrics import Metrics
from electrain.source import Source
from electrain.vocab import Vocab


class Output(NamedTuple):
    """loss (), what is minimised; additive metrics."""

    loss: Float[Tensor, ""]
    metrics: Metrics


class Split(NamedTuple):
    """Where a system's parameters lie: embeddings, encoder, head are the model; the corruptor is left behind."""

    embeddings: nn.Module
    encoder: nn.Module
    head: nn.Module
    corruptor: nn.Module


class Pretraining(nn.Module, ABC):
    """A batch and the progress of training in, a loss out. `encoder` is what is being pre-trained."""

    @dataclass(frozen=True)
    class Config(ABC):
        """What a person chose; saved in run.json."""

        encoder: Encoder.Config
        """The encoder that is being pre-trained."""

        @abstractmethod
        def build(self, vocab: Vocab) -> "Pretraining":
            """The system with fresh weights."""

        def check(self, length: int) -> None:
            """UserError if rows of `length` tokens are too long for a part; called when all is resolved."""
            self.encoder.check(length)

        def resolve(self, source: Source) -> "Pretraining.Config":
            """The same, with what has to be read from elsewhere written in (the sizes of a trained generator)."""
            return self

        def reader(self, source: Source, packing: Packing) -> Reader | None:
            """What the loader is to read beside the text, as `Batch.extra`."""
            return None

    encoder: Encoder

    def start(self, source: Source) -> str:
        """Called once, before a new run's first step: take what comes from elsewhere; a line about it, or ""."""
        return ""

    def beside(self, rows: int, length: int) -> tuple[Tensor, ...]:
        """Tensors of the shapes and types that `Config.reader` gives for so many rows, for measuring memory."""
        return ()

    def before(self, step: int, seed: int) -> None:
        """Called on the host before every step: may set Python numbers that choose what is compiled."""

    def variant(self) -> Hashable:
        """Names the choice made in `before`: each value is compiled once."""
        return None

    def after(self, step: int, metrics: Metrics) -> None:
        """Called after every step with its additive metrics; may change buffers."""

    def split(self) -> Split:
        """The parts whose parameters are counted apart; all but the encoder is a head unless a system says so."""
        return Split(self.encoder.embeddings, self.encoder, self, nn.Module())

    def layers(self) -> list[nn.Module]:
        """The layers of all encoders in it, each once: what is spread over processes apart from the rest."""
        encoders = [module for module in self.modules() if isinstance(module, Encoder)]
        return list(dict.fromkeys(layer for encoder in encoders for layer in encoder.layers))

    @abstractmethod
    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        """What a forward pass over one row of `length` tokens costs (see `cost.py`)."""

    @abstractmethod
    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        """Loss and metrics of a batch at a fraction `progress` of training. In evaluation mode nothing is dropped."""
