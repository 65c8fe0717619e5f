"""Batches of rows of like length: their order is a function of (seed, epoch), their randomness of (seed, step)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from electrain.batch import Batch
from electrain.data.order import fold, permute
from electrain.finetune.task import Row
from electrain.randomness import row_keys
from electrain.vocab import Vocab

POOL = 50  # batches whose rows are sorted by length together; the order stays random from pool to pool
STEP = 8  # lengths are rounded up to a multiple of it


class Padded(NamedTuple):
    """A batch, its targets (b, n), and weights (b,): 0 for rows that only fill it."""

    batch: Batch
    target: Shaped[Tensor, "b n"]
    weight: Float[Tensor, " b"]


class Batches:
    """A task's rows, dealt out in batches.

    ignore: what pads targets that are as long as their rows; None where all targets have one size
    even:   all batches have one size (rows that do not count fill the last), and lengths are multiples of 8: for a
            compiled step; without it, a batch is as long as its longest row
    """

    def __init__(self, rows: Sequence[Row], vocab: Vocab, size: int, ignore: int | None, *, even: bool = False):
        self.rows, self.vocab, self.size, self.ignore, self.even = rows, vocab, size, ignore, even
        self.lengths = np.array([len(row.ids) for row in rows])
        self.longest = int(self.lengths.max(initial=0))

    def __len__(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.rows) / self.size)

    def epoch(self, seed: int, epoch: int) -> list[Int[np.ndarray, " b"]]:
        """Row numbers of every batch of an epoch: each row once, in batches of like length, in random order."""
        count = len(self.rows)
        order = permute(np.arange(count), count, fold(seed, epoch))
        pools = [order[at : at + POOL * self.size] for at in range(0, count, POOL * self.size)]
        order = np.concatenate([pool[np.argsort(-self.lengths[pool], kind="stable")] for pool in pools])
        parts = [order[at : at + self.size] for at in range(0, count, self.size)]
        return [parts[number] for number in permute(np.arange(len(parts)), len(parts), fold(seed, epoch, 1))]

    def in_order(self, tokens: int) -> list[Int[np.ndarray, " b"]]:
        """Row numbers of batches of at most so many tokens, padding included, longest first: for evaluation."""
        order = np.argsort(-self.lengths, kind="stable")
        parts, at = [], 0
        while at < len(order):
            length = self._length(int(self.lengths[order[at]]))
            parts.append(order[at : at + max(1, tokens // length)])
            at += len(parts[-1])
        return parts

    def take(self, numbers: Int[np.ndarray, " b"], seed: int, step: int) -> Padded:
        """The rows of these numbers, padded."""
        rows = [self.rows[number] for number in numbers]
        size = self.size if self.even else len(rows)
        length = self._length(max(len(row.ids) for row in rows))
        ids = np.full((size, length), self.vocab.pad, np.int64)
        ids[:, 0] = self.vocab.cls  # a row that only fills must have something to attend to
        segments = np.zeros((size, length), np.int64)
        real = np.zeros((size, length), bool)
        real[:, 0] = True
        for at, row in enumerate(rows):
            end = len(row.ids)
            ids[at, :end] = row.ids
            segments[at, row.second : end] = 1
            real[at, :end] = True
        special = np.isin(ids, self.vocab.special)
        weight = np.zeros(size, np.float32)
        weight[: len(rows)] = 1
        keys = row_keys(seed, step, torch.arange(size))
        batch = Batch(*map(torch.from_numpy, (ids, segments, real, real & ~special)), key=keys)
        return Padded(batch, torch.from_numpy(self._target(rows, size, length)), torch.from_numpy(weight))

    def _target(self, rows: list[Row], size: int, length: int) -> Shaped[np.ndarray, "b n"]:
        width = len(rows[0].target) if self.ignore is None else length
        target = np.full((size, width), self.ignore or 0, rows[0].target.dtype)
        for at, row in enumerate(rows):
            target[at, : len(row.target)] = row.target
        return target

    def _length(self, longest: int) -> int:
        return min(-(-longest // STEP) * STEP, self.longest) if self.even else longest
