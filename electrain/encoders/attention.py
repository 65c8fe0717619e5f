"""Multi-head self-attention of a post-LN encoder (Vaswani et al., 2017, section 3.2)."""

import math
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.randomness import Drop, dropout

_SHORT = 64  # tokens


def bias(real: Bool[Tensor, "b t"]) -> Float[Tensor, "b 1 1 t"]:
    """0 at real places, minus infinity at padding. A sum of floats: compiled for a CPU, a choice by a mask of booleans
    reads them one by one, which takes three times as long.
    """
    return torch.zeros(real.shape, device=real.device).masked_fill(~real, -math.inf)[:, None, None, :]


@final
class Attention(nn.Module):
    """Self-attention over the real places, all heads in one projection of 3d columns: queries, keys, values."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "b t d"], bias: Float[Tensor, "b 1 1 t"], drop: Drop | None, site: int
    ) -> Float[Tensor, "b t d"]:
        """`bias` is added to the scores: `bias(real)`."""
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        drops = drop is not None and (self.dropout != 0.0 or drop.rate is not None)
        # On a CPU the fused kernel takes up to 2.5 times as long for rows so short, where no gradient is wanted.
        short = t < _SHORT and x.device.type == "cpu" and not torch.is_grad_enabled()
        if not drops and not short:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        else:
            # The fused kernels draw dropout from torch's own stateful generator, which no other process and no
            # resumed run could repeat; the plain form takes the counter-based mask.
            scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
            weights = (scores.float() + bias).softmax(-1)
            y = (dropout(weights, self.dropout, drop, site) if drops else weights).to(v.dtype) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, d))
