"""Self-attention with rotary positions, over a whole row or a window of it (Su et al., 2021; Beltagy et al., 2020)."""

import math
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.encoders.attention import attended

_BANDED = 4  # bands that a row must be longer than for attention in them to be the cheaper way
_NARROWEST = 32  # places of a band, at least: with fewer the products are too small to be fast


class Sight(NamedTuple):
    """What every layer of a kind needs of the rows: angles of the positions, and who sees whom.

    band: places of a band in which scores are made, 0 if they are made of the whole row
    bias: added to the scores, 0 or minus infinity: (b, 1, 1 or t, t); in bands (b n, 1, w, 3w), n bands of w places
    """

    cos: Float[Tensor, "t half"]
    sin: Float[Tensor, "t half"]
    bias: Float[Tensor, "r 1 q k"]
    band: int


def sight(real: Bool[Tensor, "b t"], apart: Int[Tensor, "b t"] | None, size: int, theta: float, window: int) -> Sight:
    """What layers with heads of `size` see of rows with padding.

    apart:  places see those of the same number only: documents packed into a row
    theta:  the slowest pair of columns turns 1 / theta a place (Su et al., 2021, section 3.2.2)
    window: distance up to which a place is seen; 0 for any
    """
    length = real.shape[1]
    rate = torch.exp(torch.arange(0, size, 2, device=real.device) * (-math.log(theta) / size))
    angle = torch.arange(length, device=real.device)[:, None] * rate
    band = max(window, _NARROWEST)
    banded = window > 0 and length > _BANDED * band
    if banded:
        seen = _in_reach(real, apart, band, window)
    elif apart is None and not 0 < window < length - 1:
        seen = real[:, None, :]
    else:
        seen = real[:, None, :].expand(-1, length, -1)
        if apart is not None:
            seen = seen & (apart[:, :, None] == apart[:, None, :])
        place = torch.arange(length, device=real.device)
        distance = (place[:, None] - place).abs()
        if window > 0:
            seen = seen & (distance <= window)
        seen = seen | (distance == 0)  # padding sees at least itself: a softmax over nothing is no number
    # A sum of floats, not a choice by booleans: see `attention.bias`.
    bias = torch.zeros(seen.shape, device=real.device).masked_fill(~seen, -math.inf)
    return Sight(angle.cos(), angle.sin(), bias[:, None], band if banded else 0)


def _in_reach(
    real: Bool[Tensor, "b t"], apart: Int[Tensor, "b t"] | None, w: int, window: int
) -> Bool[Tensor, "bn w near"]:
    """Who sees whom where the places of a band of w look for what they see in their own band and the two beside it."""
    rest = -real.shape[1] % w
    place = torch.arange(w, device=real.device)[:, None], torch.arange(-w, 2 * w, device=real.device)[None, :]
    distance = (place[0] - place[1]).abs()
    near = F.pad(real, (w, rest + w)).unfold(1, 3 * w, w)
    seen = near[:, :, None, :] & (distance <= window)
    if apart is not None:
        here = F.pad(apart, (0, rest)).unfold(1, w, w)
        there = F.pad(apart, (w, rest + w)).unfold(1, 3 * w, w)
        seen = seen & (here[:, :, :, None] == there[:, :, None, :])
    return (seen | (distance == 0)).flatten(0, 1)


@final
class RotaryAttention(nn.Module):
    """Multi-head self-attention without biases, all heads in one projection of 3d columns: queries, keys, values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Float[Tensor, "b t d"], sight: Sight) -> Float[Tensor, "b t d"]:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = turned(q, sight), turned(k, sight)
        y = _in_bands(q, k, v, sight) if sight.band else attended(q, k, v, sight.bias)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


def turned(x: Float[Tensor, "b h t s"], sight: Sight) -> Float[Tensor, "b h t s"]:
    """Queries or keys turned by their positions: column i of the first half is paired with column i of the second."""
    first, second = x.float().chunk(2, -1)
    cos, sin = sight.cos, sight.sin
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


def _in_bands(
    q: Float[Tensor, "b h t s"], k: Float[Tensor, "b h t s"], v: Float[Tensor, "b h t s"], sight: Sight
) -> Float[Tensor, "b h t s"]:
    """Scores of 3w keys a query in place of all t, w places a band."""
    b, t, w = q.shape[0], q.shape[2], sight.band
    rest = -t % w
    bands = F.pad(q, (0, 0, 0, rest)).unflatten(2, (-1, w)).transpose(1, 2).flatten(0, 1)  # (b n, h, w, s)
    keys, values = (
        F.pad(part, (0, 0, w, rest + w)).unfold(2, 3 * w, w).permute(0, 2, 1, 4, 3).flatten(0, 1) for part in (k, v)
    )
    y = attended(bands, keys, values, sight.bias)
    return y.view(b, -1, *y.shape[1:]).transpose(1, 2).flatten(2, 3)[:, :, :t]
