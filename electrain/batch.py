"""Batch and Selection, and what is done to them: select, gather, scatter, sample.

Every random number of a training step is a hash of (seed, step, global row, stream, place), computed by tensor
operations (`randomness.py`). Nothing is drawn from a stateful generator, so a resumed run, a run on other processes and
a compiled run select the same places and sample from the same uniforms.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from electrain.randomness import Stream, bits, uniform


class Batch(NamedTuple):
    """Rows of token ids as they stand in the corpus.

    ids       (b, t) int64   token ids, [CLS] ... [SEP], padded with the padding id
    segments  (b, t) int64   0 or 1 (the second of a pair), and twice the document's number in rows of several
    real      (b, t) bool    False at padding
    maskable  (b, t) bool    may be selected: real and not a special token
    key       (b,)   int64   the row's source of randomness: `randomness.row_keys(seed, step, row)`
    extra     what a system asked the loader to read beside the text (see `Reader`), rows along the first axis
    """

    ids: Int[Tensor, "b t"]
    segments: Int[Tensor, "b t"]
    real: Bool[Tensor, "b t"]
    maskable: Bool[Tensor, "b t"]
    key: Int[Tensor, " b"]
    extra: tuple[Tensor, ...] = ()

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Every tensor through a function."""
        return Batch(*map(function, self[:5]), extra=tuple(map(function, self.extra)))


class Reader(ABC):
    """Reads beside the text what belongs to its rows."""

    @abstractmethod
    def take(self, rows: Int[np.ndarray, " b"], epochs: Int[np.ndarray, " b"]) -> tuple[np.ndarray, ...]:
        """Arrays with one entry a row along the first axis, for rows by their number and the epoch they are read in."""


class Selection(NamedTuple):
    """The places chosen for corruption: always k slots a row, so that shapes never change.

    A row with fewer maskable tokens fills fewer slots; the others are not valid and their index means nothing.
    """

    index: Int[Tensor, "b k"]
    valid: Bool[Tensor, "b k"]


def slots(rate: float, length: int) -> int:
    """Number of slots k = round(rate * length), at least one."""
    return max(1, round(rate * length))


def select(batch: Batch, rate: float, *, replacement: bool = False, now: Float[Tensor, ""] | None = None) -> Selection:
    """Choose round(rate * maskable) places of every row, uniformly among its maskable tokens.

    now: a rate of this moment, at most `rate`: the slots stay as many, and fewer are valid.

    Without replacement (the default) all chosen places differ. With replacement, places are drawn independently, as in
    the official ELECTRA code, and a repeated draw is dropped: at 15 % of 128 about 13.8 % of the tokens remain. (The
    official code keeps the repeated draw and counts its loss twice.)
    """
    length = batch.ids.shape[1]
    k = slots(rate, length)
    count = batch.maskable.sum(1, keepdim=True)
    share = torch.clamp((count * (rate if now is None else now) + 0.5).floor(), min=1).minimum(count)
    if replacement:
        first = torch.argsort((~batch.maskable).to(torch.int8), dim=1, stable=True)
        slot = torch.arange(k, device=batch.ids.device)
        draw = uniform(batch.key, Stream.SELECT, slot[None])
        index = first.gather(1, (draw * count).long().clamp(max=length - 1))
        again = (index[:, :, None] == index[:, None, :]) & (slot[:, None] > slot[None, :])
        return Selection(index, (slot < share) & ~again.any(2))
    place = torch.arange(length, device=batch.ids.device)
    score = torch.where(batch.maskable, bits(batch.key, Stream.SELECT, place[None]), -1)
    index = score.topk(k, dim=1).indices
    valid = torch.arange(k, device=index.device) < share
    # In the order of the text: the gathers that follow then walk memory forwards.
    order = torch.where(valid, index, length).argsort(dim=1)
    return Selection(index.gather(1, order), valid.gather(1, order))


def gather(sequence: Tensor, index: Int[Tensor, "b k"]) -> Tensor:
    """Rows of `sequence` (b, t, ...) at the given places: (b, k, ...)."""
    return sequence[torch.arange(index.shape[0], device=index.device)[:, None], index]


def scatter(ids: Int[Tensor, "b t"], selection: Selection, new: Int[Tensor, "b k"]) -> Int[Tensor, "b t"]:
    """`ids` with `new` written at the valid selected places."""
    # Adding differences keeps slots that are not valid harmless wherever they point, in any order of execution.
    change = torch.where(selection.valid, new - ids.gather(1, selection.index), 0)
    return ids.scatter_add(1, selection.index, change)


def chosen(selection: Selection, length: int) -> Bool[Tensor, "b t"]:
    """True at the selected places."""
    marks = torch.zeros(selection.index.shape[0], length, dtype=torch.int32, device=selection.index.device)
    return marks.scatter_add(1, selection.index, selection.valid.to(torch.int32)) > 0


def sample(logits: Float[Tensor, "*n v"], u: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """One token id a place, exactly from softmax(logits), by inverting the cumulative distribution at u in [0, 1).

    Two levels (blocks of the vocabulary, then the block's tokens), summed in float64: a flat float32 sum over 30,000
    tokens would lose the rare ones. No gradient passes.
    """
    with torch.no_grad():
        size = logits.shape[-1]
        block = 128
        flat = logits.detach().reshape(-1, size).float()
        weight = (flat - flat.amax(-1, keepdim=True)).exp()
        weight = torch.nn.functional.pad(weight, (0, -size % block)).view(flat.shape[0], -1, block)
        heap = weight.sum(-1).double().cumsum(-1)
        target = u.reshape(-1, 1).double() * heap[:, -1:]
        which = (heap <= target).sum(-1, keepdim=True).clamp(max=heap.shape[1] - 1)
        below = torch.where(which > 0, heap.gather(1, (which - 1).clamp(min=0)), 0.0)
        inside = weight.gather(1, which[:, :, None].expand(-1, 1, block)).squeeze(1)
        steps = inside.double().cumsum(-1)
        token = (steps <= target - below).sum(-1)
        # Rounding may leave the target a hair above the block's last step; its likeliest token then stands in.
        token = torch.where(target[:, 0] - below[:, 0] < steps[:, -1], token, inside.argmax(-1))
        return (which[:, 0] * block + token).view(u.shape)
