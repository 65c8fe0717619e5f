"""Multi-head self-attention of a post-LN encoder (Vaswani et al., 2017, section 3.2)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.randomness import Drop, dropout

_SHORT = 64  # tokens: below, the plain form is the faster in float32 where no gradient is wanted
_LONG = 512  # tokens: beyond, the weights of the plain form take too much memory
_choose = True


@contextmanager
def fused() -> Iterator[None]:
    """Within it attention as on a GPU: what is planned for one must not hang on the CPU that plans."""
    global _choose  # noqa: PLW0603
    before, _choose = _choose, False
    try:
        yield
    finally:
        _choose = before


def bias(real: Bool[Tensor, "b t"]) -> Float[Tensor, "b 1 1 t"]:
    """0 at real places, minus infinity at padding. A sum of floats: compiled for a CPU, a choice by a mask of booleans
    reads them one by one, which takes three times as long.
    """
    return torch.zeros(real.shape, device=real.device).masked_fill(~real, -math.inf)[:, None, None, :]


def attended(
    q: Float[Tensor, "b h t s"],
    k: Float[Tensor, "b h n s"],
    v: Float[Tensor, "b h n s"],
    bias: Float[Tensor, "r 1 q n"],
) -> Float[Tensor, "b h t s"]:
    """Attention by the fused kernel or the plain form, whichever is the faster (docs/LOG.md); q is 1 or t, r 1 or b.

    On CPUs the fused kernel's gradients in bfloat16 take up to fifteen times as long as the plain form's.
    """
    length = k.shape[-2]
    least = _LONG + 1 if q.dtype == torch.bfloat16 else 0 if torch.is_grad_enabled() else _SHORT
    if _on_cpu(q) and length < least:
        return weights(q, k, bias) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))


def weights(
    q: Float[Tensor, "b h t s"], k: Float[Tensor, "b h n s"], bias: Float[Tensor, "r 1 q n"]
) -> Float[Tensor, "b h t n"]:
    """Of every place for every other: the softmax of the scaled scores; in float32, but on CPUs in their own format."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    scores = scores if _on_cpu(q) else scores.float()
    return (scores + bias.to(scores.dtype)).softmax(-1)


def _on_cpu(tensor: Tensor) -> bool:
    return _choose and tensor.device.type == "cpu"


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
        if drop is not None and (self.dropout != 0.0 or drop.rate is not None):
            # The fused kernels draw dropout from torch's own stateful generator, which no other process and no
            # resumed run could repeat; the plain form takes the counter-based mask.
            y = dropout(weights(q, k, bias), self.dropout, drop, site).to(v.dtype) @ v
        else:
            y = attended(q, k, v, bias)
        return self.out(y.transpose(1, 2).reshape(b, t, d))
