"""How positions start: sinusoids, and attention heads that find their neighbours by them.

A small post-LN encoder with the usual start spends its first millions of tokens at the unigram level, because heads
have to discover "the word before" from nothing. Sinusoids make a shift a rotation, so a head can be started there.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

PEAK = 6.0
"""Attention score, before the softmax, with which a head starts to look at its neighbour (ours)."""


POSITION = 32
"""Columns of the embeddings that start with the position alone, where heads start local (ours): 16 wavelengths."""


def rates(width: int) -> Float[Tensor, " pairs"]:
    """Angle a place of each pair of columns: geometric from 1 down to 1/10,000 (Vaswani et al., 2017, section 3.5)."""
    return torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))


def sinusoids(places: int, width: int) -> Float[Tensor, "places width"]:
    """Sine and cosine of every place, column pairs of falling rate (Vaswani et al., 2017, section 3.5)."""
    angle = torch.arange(places)[:, None] * rates(width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


def look_near(projections: Iterable[Tensor], table: int, width: int, heads: int) -> None:
    """Start queries and keys of every head so that it looks at one neighbour: -1, +1, -2, +2, ... over and over.

    Keys read the fastest pairs of the position; queries read the same pairs, turned by the head's distance, so that
    query i and key j agree most at j = i + distance. Values stay as they were.

    projections:  weights (3 width, width) of queries, keys and values, a layer each
    table, width: sizes of the embeddings and of the layers, whose first `POSITION` columns are the position's
    """
    size = width // heads
    pairs = min(size, POSITION) // 2
    rate = rates(table)[:pairs]
    # After LayerNorm a place's vector has unit variance: a pair's squared length is about 1.
    gain = math.sqrt(PEAK * math.sqrt(size) / pairs)
    sine = 2 * torch.arange(pairs)
    cosine = sine + 1
    plain = torch.zeros(size, width)
    plain[sine, sine] = plain[cosine, cosine] = 1.0
    for number, projection in enumerate(projections):
        weight = projection.data
        for head in range(heads):
            turn_number = (number * heads + head) % max(4, heads)
            distance = (turn_number // 2 + 1) * (-1 if turn_number % 2 == 0 else 1)
            angle = (rate * distance).double()
            turn = torch.zeros(size, width)
            # sin(a + b) = sin a cos b + cos a sin b; cos(a + b) = cos a cos b - sin a sin b
            turn[sine, sine] = turn[cosine, cosine] = angle.cos().float()
            turn[sine, cosine] = angle.sin().float()
            turn[cosine, sine] = -angle.sin().float()
            rows = slice(head * size, (head + 1) * size)
            weight[rows] = gain * turn
            weight[width:][rows] = gain * plain


def pass_positions(project: nn.Linear) -> None:
    """Let a projection of the embeddings start with the position's columns as they are, apart from the others."""
    project.weight.data[:POSITION] = 0.0
    project.weight.data[:, :POSITION] = 0.0
    project.weight.data[:POSITION, :POSITION] = torch.eye(POSITION)
