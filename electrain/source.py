"""What a new run may be started from besides its configuration: data, and networks that were trained before."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Reader, Selection
from electrain.cost import Shape, Work
from electrain.data.examples import Packing
from electrain.randomness import Drop
from electrain.vocab import Vocab

READ = MappingProxyType({"electrain": "read from elsewhere"})
"""Marks a field of a configuration that is found when a run begins, `field(default=None, metadata=READ)`: the sizes of
a trained generator. A run that is gone on with keeps what it was begun with."""


class MaskedLm(nn.Module, ABC):
    """A masked language model that is asked for the selected places only."""

    @dataclass(frozen=True)
    class Config(ABC):
        """Its sizes, enough to build it again without what it was loaded from; saved in run.json."""

        drops: ClassVar[bool] = True
        """Whether `logits` heeds `drop`."""

        @abstractmethod
        def build(self, vocab: Vocab) -> "MaskedLm":
            """The network with fresh weights."""

        def check(self, length: int) -> None:  # noqa: B027 (not every network has a longest row)
            """UserError if rows of `length` tokens are too long for it; unless it says so, none is."""

    config: Config

    @abstractmethod
    def logits(
        self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection, drop: Drop | None = None
    ) -> Float[Tensor, "b k v"]:
        """Read the masked `ids`; logits over the vocabulary at the picked places."""

    @abstractmethod
    def cost(self, shape: Shape, part: str, *, trained: bool) -> tuple[Work, ...]:
        """What reading one row costs (see `cost.py`)."""


class Proposals(ABC):
    """What a frozen generator proposed for every row of the data, kept from an earlier pass (see `cache/`).

    slots:     selected slots of a row
    top:       proposals kept of each slot
    checksum:  of the contents
    """

    slots: int
    top: int
    checksum: str

    @abstractmethod
    def reader(self, packing: Packing) -> Reader:
        """Reads them beside the rows of a packing. UserError if they were made for other rows."""


class Source(ABC):
    """Where a new run finds what its configuration only names."""

    @abstractmethod
    def frequencies(self) -> Int[Tensor, " v"]:
        """How often each token occurs in the training data."""

    @abstractmethod
    def masked_lm(self, place: str) -> MaskedLm:
        """A trained masked language model with the data's own tokenizer, in evaluation mode.

        place: a run of ours, a transformers folder or a name on the Hub; "" for the stage before this run
        UserError if there is none, or its vocabulary is not the data's, token by token.
        """

    @abstractmethod
    def encoder(self) -> nn.Module:
        """The encoder that the stage before this run pre-trained, in evaluation mode. UserError if there is none."""

    @abstractmethod
    def proposals(self, place: str) -> Proposals:
        """A frozen generator's proposals that `electrain cache` left in a folder. UserError if there are none."""
