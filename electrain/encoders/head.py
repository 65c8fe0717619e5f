"""The two heads of the field: a word for every selected place, a verdict for every token."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.encoders.base import Encoder


@final
class MlmHead(nn.Module):
    """Masked-LM head: dense, GELU, LayerNorm, the tied token table and a bias (ELECTRA's official code; BERT's too)."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        size, embedding = encoder.tokens.weight.shape
        self.dense = nn.Linear(encoder.width, embedding)
        self.norm = nn.LayerNorm(embedding, eps=encoder.norm_eps)
        self.bias = nn.Parameter(torch.zeros(size))
        encoder.start(self.dense)

    def forward(self, hidden: Float[Tensor, "*n d"], table: Float[Tensor, "v e"]) -> Float[Tensor, "*n v"]:
        """Logits over the vocabulary, by the token table of the encoder that the head is tied to."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), table, self.bias)


@final
class RtdHead(nn.Module):
    """Replaced-token head: dense, GELU, one logit, positive where a token looks replaced (ELECTRA's official code)."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.dense = nn.Linear(encoder.width, encoder.width)
        self.out = nn.Linear(encoder.width, 1)
        encoder.start(self.dense)
        encoder.start(self.out)

    def forward(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        return self.out(F.gelu(self.dense(hidden))).squeeze(-1)
