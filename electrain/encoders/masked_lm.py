"""A masked language model of ours: an encoder and the tied head."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from electrain.batch import Batch, Selection, gather
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead
from electrain.randomness import Drop
from electrain.source import MaskedLm
from electrain.vocab import Vocab


@final
class EncoderLm(MaskedLm):
    """An encoder with its own tables and a masked-LM head tied to them."""

    @dataclass(frozen=True)
    class Config(MaskedLm.Config):
        """The encoder's sizes."""

        encoder: Encoder.Config
        """Sizes of the encoder."""

        def build(self, vocab: Vocab) -> "EncoderLm":
            return EncoderLm(self, vocab)

        def check(self, length: int) -> None:
            self.encoder.check(length)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(vocab)
        self.head = MlmHead(self.encoder)

    def logits(
        self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection, drop: Drop | None = None
    ) -> Float[Tensor, "b k v"]:
        hidden = self.encoder(ids, batch.real, batch.segments, drop=drop)
        return self.head(gather(hidden, picked.index), self.encoder.tokens.weight)

    def cost(self, shape: Shape, part: str, *, trained: bool) -> tuple[Work, ...]:
        own = self.encoder
        head = mlm_head(shape, embedding=own.tokens.embedding_dim, hidden=own.width, part=part, trained=trained)
        return own.cost(shape, part, trained=trained) + head
