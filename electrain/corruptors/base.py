"""What every corruptor is: it proposes what stands at the selected places."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Selection
from electrain.cost import Shape, Work, linears
from electrain.encoders.base import Encoder
from electrain.metrics import Metrics
from electrain.vocab import Vocab


class Corrupted(NamedTuple):
    """A damaged batch.

    ids       (b, t)  what the encoder reads
    picked            the selected places
    replaced  (b, t)  True where `ids` differs from the text: a correct sample counts as original (ELECTRA, section 2)
    delta     (b, t, e) or None: added to the token embeddings
    loss      ()      the corruptor's own loss, 0 where it has none
    metrics           additive metrics of the corruptor
    """

    ids: Int[Tensor, "b t"]
    picked: Selection
    replaced: Bool[Tensor, "b t"]
    delta: Float[Tensor, "b t e"] | None
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

    def selected(self, length: int) -> int:
        """Selected slots of a row, for counting operations; every place unless the corruptor says fewer."""
        return length

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        """What corrupting one row costs (see `cost.py`); the default counts its own Linears at every place."""
        return linears(self, shape, "corruptor")

    @abstractmethod
    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        """Damage a batch; `progress` is the fraction of training done, a tensor: a curriculum never recompiles."""
