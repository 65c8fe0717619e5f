"""What every objective is: a question asked of the encoder's vectors."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, linears
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import Metrics
from electrain.vocab import Vocab


class Scored(NamedTuple):
    """loss () and additive metrics of the objective.

    logits  (b, t) or None: where it judges tokens, its logit of "replaced"
    """

    loss: Float[Tensor, ""]
    metrics: Metrics
    logits: Float[Tensor, "b t"] | None = None


class Objective(nn.Module, ABC):
    """Scores the encoder's vectors of a damaged batch."""

    @dataclass(frozen=True)
    class Config(ABC):
        """What a person chose of the objective; saved in run.json."""

        @abstractmethod
        def build(self, vocab: Vocab, encoder: Encoder) -> "Objective":
            """The objective with a fresh head."""

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        """What scoring one row costs (see `cost.py`); the default counts its own Linears at every place."""
        return linears(self, shape, "objective")

    @abstractmethod
    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        """`seen` is what the encoder read, `batch` the text as it was."""

    def naturalness(self, batch: Batch, encoder: Encoder) -> Float[Tensor, " b"]:
        """How natural the rows look: sums over their real, non-special tokens of log-probabilities, or of what stands
        for them. For comparing rows, in evaluation mode: the text is read as it is, and nothing is dropped.

        UserError if the objective judges no text as it is.
        """
        raise UserError(f"naturalness: the objective {type(self).__name__} judges no text; choose Electric or Rtd")
