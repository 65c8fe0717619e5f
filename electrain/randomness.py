"""Counter-based randomness: hashes of (seed, step, global row, stream, place) as tensor operations.

Two widths. 64 bits for the few numbers that decide what is learnt (selection, masking, sampling): the finaliser of
SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) over a keyed counter. 32 bits for dropout, of which a step draws tens of
millions: two multiply-xorshift rounds with a key added before each, which compilers vectorise.
"""

import math
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Stream(IntEnum):
    """Uses of randomness that must be independent of each other for one row and one place.

    A system of your own takes numbers from 1000 on.
    """

    SELECT = 1
    MASK = 2
    RANDOM_TOKEN = 3
    SAMPLE = 4
    GENERATOR = 5
    DISCRIMINATOR = 6
    EVALUATION = 7
    MIXTURE = 8
    NOISE = 9
    NEIGHBOUR = 10
    EXIT = 11
    VIEW = 12


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mix64(x: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
    # The constants are SplitMix64's, written as signed integers; int64 products wrap.
    x = (x ^ _shift(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shift(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shift(x, 31)


_GOLDEN = -0x61C8864680B583EB  # 2**64 / golden ratio, odd, as signed


# An opaque operator: a compiler that inlines the xorshifts into every reader of a key doubles the expression at each
# of them, and compiling takes minutes. Keys are few, so nothing is lost by computing them apart.
@torch.library.custom_op("electrain::fold", mutates_args=())
def _fold(key: Tensor, number: Tensor) -> Tensor:
    return _mix64(_mix64(key) + (number + 1) * _GOLDEN)


@_fold.register_fake
def _(key: Tensor, number: Tensor) -> Tensor:
    return key.new_empty(torch.broadcast_shapes(key.shape, number.shape))


def fold(key: Int[Tensor, "..."], number: int | Tensor) -> Int[Tensor, "..."]:
    """A new, independent key from a key and a number; the two broadcast."""
    if isinstance(number, int):
        number = torch.full((), int(number), dtype=torch.int64, device=key.device)
    return _fold(key, number)


def row_keys(seed: int, step: int, rows: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Key of each row: a function of the run's seed, the step and the row's number in the global batch."""
    start = torch.tensor(seed, dtype=torch.int64)
    return fold(fold(start, step), rows)


def bits(key: Int[Tensor, " b"], stream: int, place: Int[Tensor, "_ n"]) -> Int[Tensor, "b n"]:
    """63 random bits as non-negative int64 for every place; `place` is (1, n) or (b, n)."""
    return fold(fold(key, stream)[:, None], place) & 0x7FFF_FFFF_FFFF_FFFF


def uniform(key: Int[Tensor, " b"], stream: int, place: Int[Tensor, "_ n"]) -> Float[Tensor, "b n"]:
    """float64 in [0, 1) with 53 random bits for every place; `place` is (1, n) or (b, n)."""
    return (bits(key, stream, place) >> 10).double() * 2.0**-53


class Drop(NamedTuple):
    """Randomness of dropout for one pass of one network: two words of 32 bits a row, (b,) each.

    rate: () stands in for the network's own rates, for a rate that moves during training
    """

    low: Int[Tensor, " b"]
    high: Int[Tensor, " b"]
    rate: Float[Tensor, ""] | None = None


def drop(key: Int[Tensor, " b"], stream: int) -> Drop:
    """The dropout words of a network's pass."""
    folded = fold(key, stream)
    return Drop(folded.to(torch.int32), (folded >> 32).to(torch.int32))


def keep(
    source: Drop, site: int, shape: tuple[int, ...], p: float | Tensor, again: bool = False
) -> Bool[Tensor, "..."]:
    """Dropout mask of the given shape (its first axis is the batch): False with probability p, to 2**-32.

    site:  number of the place in the network, distinct within a pass
    again: the same mask once more, computed anew (see `_at`)
    """
    below = (p.double() * 2**32).round().long() if isinstance(p, Tensor) else round(p * 2**32)
    return _words(source, site, shape, again) >= below - 2**31


def fractions(source: Drop, site: int, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """float32 in (0, 1] of the given shape (its first axis is the batch), from 31 random bits: for noise, of which a
    step draws millions. Never 0, at least 2**-32; fine near 0, in steps of 2**-24 near 1.
    """
    return ((_words(source, site, shape) & 0x7FFF_FFFF).float() + 0.5) * 2.0**-31


def _words(source: Drop, site: int, shape: tuple[int, ...], again: bool = False) -> Int[Tensor, "..."]:
    """32 random bits an element as int32. Source: two multiply-xorshift rounds over a counter, a word of the key added
    before each; constants by Wellons (hash-prospector, "lowbias32").
    """
    size = math.prod(shape[1:])
    if size >= 2**31:
        raise ValueError(f"{size} random words a row: the counter holds 31 bits")
    counter = torch.arange(size, dtype=torch.int32, device=source.low.device).view(1, *shape[1:])
    low, high = (word.view(-1, *(1,) * (len(shape) - 1)) for word in _at(source.low, source.high, site, again).unbind())
    x = counter * 0x2C1B3C6D + low
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D + high
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _word(0x846CA68B)
    return x ^ ((x >> 16) & 0xFFFF)


def _word(number: int) -> int:
    """A Python integer modulo 2**32, as int32 would hold it."""
    return (number + 2**31) % 2**32 - 2**31


# Opaque, like `fold`, for two reasons. The number of a site would be a constant in the compiled loops, so that every
# layer had loops of its own to compile; as data, all layers share theirs. And a compiler that saw the same hash in the
# forward and in the backward pass would compute it once and keep a mask of a byte an element in between, which takes
# eight times the hash's own time to store and read: `again` makes the two calls different.
@torch.library.custom_op("electrain::at", mutates_args=())
def _at(low: Tensor, high: Tensor, site: int, again: bool) -> Tensor:
    return torch.stack((low + _word(site * 0x9E3779B1), high + _word(site * 0x85EBCA77)))


@_at.register_fake
def _(low: Tensor, high: Tensor, site: int, again: bool) -> Tensor:
    return low.new_empty((2, *low.shape))


class _Dropout(torch.autograd.Function):
    """Dropout that keeps no mask: the backward pass draws it again from the two words of every row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor, rate: Tensor | None, site: int, p: float) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(low, high, rate)
        ctx.site, ctx.p = site, p
        return _masked(x, Drop(low, high), site, p if rate is None else rate)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        low, high, rate = ctx.saved_tensors
        p = ctx.p if rate is None else rate
        return _masked(grad, Drop(low, high), ctx.site, p, again=True), None, None, None, None, None


def _masked(x: Tensor, source: Drop, site: int, p: float | Tensor, again: bool = False) -> Tensor:
    return torch.where(keep(source, site, tuple(x.shape), p, again), x * (1.0 / (1.0 - p)), 0.0).to(x.dtype)


def dropout(x: Float[Tensor, "..."], p: float, source: Drop | None, site: int) -> Float[Tensor, "..."]:
    """Inverted dropout (Srivastava et al., 2014) with the counter-based mask; the identity without a source."""
    if source is None or (p == 0.0 and source.rate is None):
        return x
    return dropped(x, source.low, source.high, source.rate, site, p)


# One call to the compiler's front end, which would otherwise trace both passes anew at each of a network's sites: three
# quarters of all its tracing. `compute.py` tells it that such a graph may be kept.
@torch.compiler.allow_in_graph
def dropped(x: Tensor, low: Tensor, high: Tensor, rate: Tensor | None, site: int, p: float) -> Tensor:
    """`dropout` where there is a source, its words and rate one by one."""
    return _Dropout.apply(x, low, high, rate, site, p)
