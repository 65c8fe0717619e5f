"""Noise on the embeddings in place of other tokens: what is too easy to detect (Kang et al., 2021, section 2)."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, chosen, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.mask import check_shares
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import mean
from electrain.randomness import Drop, Stream, drop, fractions
from electrain.vocab import Vocab


@final
class Noise(Corruptor):
    """Adds normal noise to the token embeddings of the selected places; "replaced" are the noised ones, no id changes.

    It learns nothing. A noised vector is no token's, and the discriminator knows that within some 100 steps.
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """The paper has 15 % and "a normal distribution"; that it is the standard one is ours."""

        rate: float = 0.15
        """Share of the non-special tokens that is noised."""
        sigma: float = 1.0
        """Standard deviation of every number that is added. (Token tables start at 0.02.)"""

        def __post_init__(self) -> None:
            check_shares(self.rate, 0.0, 0.0)
            if not 0 < self.sigma < math.inf:
                raise UserError(f"corruptor: sigma is {self.sigma}; choose a positive number")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Noise":
            return Noise(self)

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        (b, t), width = batch.ids.shape, encoder.tokens.embedding_dim
        noise = self.config.sigma * normal(drop(batch.key, Stream.NOISE), (*picked.index.shape, width))
        place = picked.index[..., None].expand_as(noise)
        noise = torch.where(picked.valid[..., None], noise, 0.0)
        delta = torch.zeros(b, t, width, device=noise.device).scatter_add(1, place, noise)
        replaced = chosen(picked, t)
        loss = torch.zeros((), device=noise.device)
        return Corrupted(batch.ids, picked, replaced, delta, loss, {"replaced": mean(replaced, batch.real)})


def normal(source: Drop, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Standard normal numbers of the given shape (its first axis is the batch), within 6.7 (Box and Muller, 1958)."""
    radius = (-2 * fractions(source, 0, shape).log()).sqrt()
    return radius * (2 * math.pi * fractions(source, 1, shape)).cos()
