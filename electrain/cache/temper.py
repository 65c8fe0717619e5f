"""A cached distribution at any temperature: its masses, draws from it, and how far it lies from the full softmax.

An entry keeps log p of the K likeliest tokens and, of the tail, f(b) = log sum p^b at b = 1 and b = 1/2. At temperature
T, with b = 1/T, a kept token has mass p^b and the tail exp f(b). f(0) is the log of the number of tail tokens; between
b = 0 and 1 (T of at least 1) f is the parabola through the three known points: exact at T = 1, at T = 2 and for T to
infinity. Above b = 1 it goes on straight, and no steeper than the least of the kept log-probabilities, which bounds it.

Within the tail a token is drawn by its frequency in the data (plus one, so that none is impossible) to the power 1/T:
this, and rounding to float16, is the error, which `total_variation` measures. For K = 64, a generator of one layer (its
held-out loss 4.28) and 8192 tokens: 0.175 at T = 1, 0.185 at 1.5, 0.162 at 2; without the power 0.175, 0.315, 0.400;
with the tail's mass estimated from the one at T = 1 alone 0.175, 0.198, 0.173 (benchmarks/cache_error.py, results/).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from electrain.tail import pick


class Entry(NamedTuple):
    """Cached proposals of any number of slots: ids and log-probabilities of the top K, two log-masses of the tail."""

    ids: Int[Tensor, "*n k"]
    logp: Float[Tensor, "*n k"]
    tail: Float[Tensor, "*n two"]


def entry(logits: Float[Tensor, "*n v"], top: int) -> Entry:
    """What is kept of the logits over the vocabulary, rounded as on disk; the likeliest token first."""
    whole = torch.log_softmax(logits.float(), -1)
    logp, ids = whole.topk(top, dim=-1)
    rest = whole.scatter(-1, ids, -torch.inf)
    tail = torch.stack([rest.logsumexp(-1), (rest / 2).logsumexp(-1)], -1)
    return Entry(ids, logp.half(), tail.half())


def masses(kept: Entry, temperature: Float[Tensor, ""], vocab: int) -> Float[Tensor, "*n k1"]:
    """Masses at a temperature, not normed: of the top K, then of the tail; float64."""
    b = 1 / temperature.double()
    logp, tail = kept.logp.double(), kept.tail.double()
    none = torch.full_like(tail[..., 0], vocab - logp.shape[-1]).log()
    one, half = tail[..., 0], tail[..., 1]
    parabola = none * (2 * b - 1) * (b - 1) - 4 * half * b * (b - 1) + one * b * (2 * b - 1)
    slope = torch.minimum(none - 4 * half + 3 * one, logp[..., -1])
    rest = torch.where(b > 1, one + slope * (b - 1), parabola)
    top = logp[..., :1] * b  # the likeliest has mass 1, so that nothing over- or underflows
    return (torch.cat([logp * b, rest[..., None]], -1) - top).exp()


def draw(
    kept: Entry, weight: Float[Tensor, " v"], temperature: Float[Tensor, ""], u: Float[Tensor, "*n"]
) -> Int[Tensor, "*n"]:
    """One token id a slot at u in [0, 1)."""
    mass = masses(kept, temperature, weight.shape[0])
    return pick(kept.ids, mass, weight.double() ** (1 / temperature.double()), u).token


def dense(kept: Entry, weight: Float[Tensor, " v"], temperature: Float[Tensor, ""]) -> Float[Tensor, "*n v"]:
    """The whole distribution that `draw` draws from, float64: for measuring."""
    mass = masses(kept, temperature, weight.shape[0])
    mass = mass / mass.sum(-1, keepdim=True)
    ids = kept.ids.long()
    tempered = weight.double() ** (1 / temperature.double())
    rest = tempered.expand(*ids.shape[:-1], -1).scatter(-1, ids, 0.0)
    return (rest / rest.sum(-1, keepdim=True) * mass[..., -1:]).scatter(-1, ids, mass[..., :-1])


def total_variation(
    logits: Float[Tensor, "*n v"], kept: Entry, weight: Float[Tensor, " v"], temperature: Float[Tensor, ""]
) -> Float[Tensor, "*n"]:
    """Half the sum of |full softmax at a temperature - what is drawn from the cache|, of each slot."""
    full = torch.softmax(logits.double() / temperature, -1)
    return (full - dense(kept, weight, temperature)).abs().sum(-1) / 2
