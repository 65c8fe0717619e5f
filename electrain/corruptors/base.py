"""What every corruptor is: it proposes what stands at the selected places."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Reader, Selection
from electrain.cost import Shape, Work, linears
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.metrics import Metrics
from electrain.source import Source
from electrain.vocab import Vocab


class Corrupted(NamedTuple):
    """A damaged batch.

    ids       (b, t)  what the encoder reads
    picked            the selected places
    replaced  (b, t)  True where `ids` differs from the text: a correct sample counts as original (ELECTRA, section 2)
    delta     (b, t, e) or None: added to the token embeddings
    loss      ()      the corruptor's own loss, 0 where it has none
    metrics           additive metrics of the corruptor
    log_proposal (b, t) or None: log-probability of `ids` under what proposed them, where an objective needs it
    memory            what the corruptor wants to see again in `feedback`
    """

    ids: Int[Tensor, "b t"]
    picked: Selection
    replaced: Bool[Tensor, "b t"]
    delta: Float[Tensor, "b t e"] | None
    loss: Float[Tensor, ""]
    metrics: Metrics
    log_proposal: Float[Tensor, "b t"] | None = None
    memory: tuple[Tensor, ...] = ()


class Feedback(NamedTuple):
    """loss (), added to the step's, and additive metrics of what a corruptor learns from the objective's verdict."""

    loss: Float[Tensor, ""]
    metrics: Metrics


class Corruptor(nn.Module, ABC):
    """Damages a batch."""

    @dataclass(frozen=True)
    class Config(ABC):
        """What a person chose of the corruptor; saved in run.json."""

        @abstractmethod
        def build(self, vocab: Vocab, encoder: Encoder) -> "Corruptor":
            """The corruptor with fresh weights; `encoder` is the one that will read its output."""

        def check(self, length: int) -> None:  # noqa: B027 (most corruptors have nothing to check)
            """UserError if rows of `length` tokens are too long for the corruptor; unless it says so, none is."""

        def resolve(self, source: Source) -> "Corruptor.Config":
            """The same, with what has to be read from elsewhere written in (the sizes of a trained generator)."""
            return self

        def reader(self, source: Source, packing: Packing) -> Reader | None:
            """What the loader is to read beside the text, as `Batch.extra`; nothing, unless the corruptor says so."""
            return None

    def selected(self, length: int) -> int:
        """Selected slots of a row, for counting operations; every place unless the corruptor says fewer."""
        return length

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        """What corrupting one row costs (see `cost.py`); the default counts its own Linears at every place."""
        return linears(self, shape, "corruptor")

    def start(self, source: Source, encoder: Encoder) -> str:
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
        """Called after every step with its additive metrics; may change buffers. Nothing here may wait for the device
        but every so many steps.
        """

    def feedback(self, seen: Corrupted, logits: Float[Tensor, "b t"], batch: Batch) -> Feedback | None:
        """What the corruptor learns from the objective's logits of "replaced" (`Scored.logits`); nothing by default."""
        return None

    @abstractmethod
    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        """Damage a batch; `progress` is the fraction of training done, a tensor: a curriculum never recompiles."""
