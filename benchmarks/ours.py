"""A step of ours on made-up rows, for whatever system: forward, backward, clipping, update."""

import torch
from torch import Tensor

from electrain.batch import Batch
from electrain.compute import Step
from electrain.optim.adam import Adam
from electrain.randomness import row_keys
from electrain.systems.base import Pretraining
from electrain.vocab import Vocab


def rows_of(rows: int, length: int, vocabulary: int) -> Tensor:
    """Random ids (rows, length), [CLS] first and [SEP] last, in the vocabulary of `vocab_of`."""
    ids = torch.randint(5, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, -1] = 2, 3
    return ids


def vocab_of(size: int) -> Vocab:
    """A vocabulary whose first five ids are the special tokens."""
    return Vocab(size, 0, 1, 2, 3, 4, (0, 2, 3, 4))


class Ours:
    """A system that trains on the same rows again and again, its randomness another in every step."""

    def __init__(
        self, system: Pretraining, ids: Tensor, dtype: torch.dtype, compiled: bool, *, beside: tuple[Tensor, ...] = ()
    ):
        self.system, self.optim, self.beside = system.to(ids.device), Adam(), beside
        self.optimizer = self.optim.build(self.system)
        self.call = Step(self.system, dtype, compiled, lambda line: None)
        self.ids, self.number = ids, 0

    def batch(self) -> Batch:
        """The rows, with this step's randomness."""
        ids = self.ids
        keys = row_keys(0, self.number, torch.arange(len(ids))).to(ids.device)
        return Batch(ids, torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool), ids > 4, keys, self.beside)

    def step(self) -> None:
        """One update."""
        self.optim.set_rate(self.optimizer, self.number, 1_000_000)
        self.system.before(self.number, 0)
        output = self.call(self.batch(), torch.full((), self.number / 1_000_000, device=self.ids.device))
        output.loss.backward()
        self.optim.clip_gradients(self.system)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.system.after(self.number, output.metrics)
        self.number += 1
