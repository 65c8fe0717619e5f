"""Draws from a few likeliest tokens as a generator has them, and from all others by how often the data has them.

What a cache of proposals does because it keeps no more, and what any generator may do because a discriminator learns
more from it early in training (records/kept). Ours. Within the tail a token has mass frequency^(1/T).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Tail(NamedTuple):
    """How many of the likeliest tokens are drawn as they are, and the weights of all others (see `shares`)."""

    top: int
    weight: Float[Tensor, " v"]


class Drawn(NamedTuple):
    """One token a slot, and the log-probability that it had."""

    token: Int[Tensor, "*n"]
    logp: Float[Tensor, "*n"]


def shares(counts: Int[Tensor, " v"], special: tuple[int, ...]) -> Float[Tensor, " v"]:
    """Weights by which tail tokens are drawn: frequency plus one, nothing for special tokens."""
    weight = counts.double() + 1
    weight[list(special)] = 0
    return (weight / weight.sum()).float()


def kept(
    logits: Float[Tensor, "*n v"], tail: Tail, temperature: Float[Tensor, ""] | None, u: Float[Tensor, "*n"]
) -> Drawn:
    """A sample of softmax(logits / temperature) whose mass beyond the likeliest tokens goes by the tail's weights.

    temperature: 1 if it is None
    u:           in [0, 1), one a slot

    No gradient passes.
    """
    with torch.no_grad():
        logits = logits.detach().float()
        logits = logits if temperature is None else logits / temperature
        values, ids = logits.topk(tail.top, dim=-1)
        head = (values - logits.logsumexp(-1, keepdim=True)).double().exp()
        # Rounding may leave less than nothing.
        rest = (1 - head.sum(-1, keepdim=True)).clamp(min=1e-12)
        weight = tail.weight.double()
        tempered = weight if temperature is None else weight ** (1 / temperature.double())
        return pick(ids, torch.cat([head, rest], -1), tempered, u)


def pick(
    ids: Int[Tensor, "*n k"], mass: Float[Tensor, "*n k1"], tempered: Float[Tensor, " v"], u: Float[Tensor, "*n"]
) -> Drawn:
    """One token id a slot, by inverting the cumulative distribution at u in [0, 1), float64; shapes are static.

    ids, mass: the kept tokens, and their masses with the tail's last; not normed
    tempered:  the tail's weights at the temperature
    """
    heap = mass.cumsum(-1)
    target = u.double() * heap[..., -1]
    which = (heap <= target[..., None]).sum(-1)
    top = ids.shape[-1]
    # What is left of u decides within the tail. Its tokens lie side by side in the order of their ids, the kept ones
    # left out: each kept token that would come before the target moves it on by its own weight.
    left = ((target - heap[..., -2]) / mass[..., -1]).clamp(0, 1 - 1e-12)
    steps = tempered.cumsum(0)
    ids = ids.long()
    ordered = ids.sort(-1).values
    own = tempered[ordered]
    before = own.cumsum(-1) - own
    start = steps[ordered] - own - before  # tail weight before each kept token
    whole = steps[-1] - own.sum(-1)
    point = left * whole
    point = point + (own * (start <= point[..., None])).sum(-1)
    beyond = torch.searchsorted(steps, point.contiguous(), right=True).clamp(max=tempered.shape[0] - 1)
    among = which.clamp(max=top - 1)[..., None]
    token = torch.where(which < top, ids.gather(-1, among).squeeze(-1), beyond)
    own_mass = torch.where(which < top, mass.gather(-1, among).squeeze(-1), mass[..., -1] * tempered[beyond] / whole)
    return Drawn(token, (own_mass / heap[..., -1]).log())
