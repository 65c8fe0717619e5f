"""From a step's number to its batches. The loader has no state: any step can be asked for, on any process."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from electrain.batch import Batch, Reader
from electrain.data.examples import Packing
from electrain.data.order import fold, permute
from electrain.errors import UserError
from electrain.randomness import row_keys
from electrain.vocab import Vocab


class Loader:
    """Batches of a packing in a keyed order.

    Slot step * batch + position of the run is row `permutation(slot % rows)` of epoch slot // rows; each epoch has its
    own permutation, named by (seed, epoch). A split smaller than what is asked of it is read again in another order.

    batch:       rows of a step over all processes; accumulate must divide it, and leave each process a row (UserError)
    seed:        of the order and of every row's randomness (Batch.key)
    accumulate:  micro-batches of a step
    reader:      what is read beside the text of every row
    rank, ranks: this process, and how many there are; each takes a contiguous part of every micro-batch, so that a
                 micro-batch holds the same rows however many processes there are; the parts differ by a row at most
    waited:      seconds that consumers of `stream` have waited for data
    before:      slots before a step, if not step * batch (a run that grows); between two steps lie the rows of the
                 first, whole micro-batches
    shorter:     set for a run whose first rows are shorter: a step, and the loader of the steps before it
    """

    def __init__(
        self,
        packing: Packing,
        vocab: Vocab,
        *,
        batch: int,
        seed: int,
        accumulate: int = 1,
        reader: Reader | None = None,
        rank: int = 0,
        ranks: int = 1,
        before: Callable[[int], int] | None = None,
    ) -> None:
        if batch < 1 or accumulate < 1 or batch % accumulate:
            raise UserError(
                f"a batch of {batch} rows cannot be cut into {accumulate} micro-batch(es); choose a multiple of "
                f"{max(1, accumulate)}"
            )
        if batch // accumulate < ranks:
            raise UserError(
                f"a micro-batch of {batch // accumulate} row(s) cannot be split over {ranks} processes; choose a "
                "larger --batch, a smaller --accumulate or fewer processes"
            )
        if not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks}")
        self.packing, self.vocab = packing, vocab
        self.batch, self.seed, self.accumulate, self.rank, self.ranks = batch, seed, accumulate, rank, ranks
        self.reader, self.waited = reader, 0.0
        self.before = before or (lambda step: step * batch)
        self.shorter: tuple[int, Loader] | None = None
        self._plain = np.ones(vocab.size, np.bool_)  # by id: not a special token
        self._plain[list(vocab.special)] = False

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of this process's rows in a step, int64, in order; and the epoch in which each is read."""
        if step < 0:
            raise ValueError(f"step {step}")
        slots = self.before(step) + self._positions(step)
        epochs = slots // self.packing.rows
        out = np.empty_like(slots)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = epochs == epoch
            out[here] = permute(slots[here] % self.packing.rows, self.packing.rows, fold(self.seed, epoch))
        return out, epochs

    def passes(self, steps: int) -> float:
        """How many times over the split is read in so many steps."""
        begins, short = self.shorter or (0, None)
        earlier = 0.0 if short is None else short.passes(begins)
        return earlier + (self.before(steps) - self.before(begins)) / self.packing.rows

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of this process in a step. UserError if the data holds ids beyond the vocabulary."""
        if self.shorter is not None and step < self.shorter[0]:
            return self.shorter[1].step(step)
        rows, epochs = self.rows(step)
        ids, segments, real = self.packing.take(rows)
        try:
            maskable = self._plain[ids] & real
        except IndexError as error:
            raise UserError(
                f"the data holds token id {int(ids.max())}, but the vocabulary has {self.vocab.size}: the token files "
                "are damaged or of another tokenizer; run electrain prepare again"
            ) from error
        keys = row_keys(self.seed, step, torch.from_numpy(self._positions(step)))
        whole = [*(torch.from_numpy(array) for array in (ids, segments, real, maskable)), keys]
        beside = [] if self.reader is None else [torch.from_numpy(array) for array in self.reader.take(rows, epochs)]
        cut = zip(*(tensor.chunk(self._micro(step)) for tensor in whole + beside), strict=True)
        return [Batch(*parts[: len(whole)], extra=parts[len(whole) :]) for parts in cut]

    def stream(self, steps: Iterable[int], device: torch.device | str | None = None) -> Iterator[list[Batch]]:
        """`step(number)` of every number, each made on a thread while the one before it is used.

        The tensors stay in the host's memory, pinned if `device` is cuda. An error on the thread is raised here.
        Closing the iterator, or dropping it, ends the thread.
        """
        where = torch.device(device) if device is not None else None
        # "cuda" without a number is the consumer's current device; a new thread would take number 0.
        cuda = torch.empty(0, device=where).device if where is not None and where.type == "cuda" else None

        def make(step: int) -> list[Batch]:
            batches = self.step(step)
            if cuda is None:
                return batches
            torch.cuda.set_device(cuda)
            return [batch.map(torch.Tensor.pin_memory) for batch in batches]

        with ThreadPoolExecutor(1, thread_name_prefix="electrain-loader") as pool:
            coming = (pool.submit(make, step) for step in steps)
            one = next(coming, None)
            while one is not None:
                began = time.perf_counter()
                batches = one.result()
                self.waited += time.perf_counter() - began
                one = next(coming, None)
                yield batches

    def _micro(self, step: int) -> int:
        """Micro-batches of a step."""
        return (self.before(step + 1) - self.before(step)) * self.accumulate // self.batch

    def _positions(self, step: int) -> np.ndarray:
        size = self.batch // self.accumulate
        part = np.arange(size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks, dtype=np.int64)
        return (size * np.arange(self._micro(step), dtype=np.int64)[:, None] + part).ravel()
