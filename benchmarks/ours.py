"""A step of ours as the training loop makes it, for whatever system, on rows of random tokens made beforehand."""

import itertools
from typing import cast

import torch
from torch import Tensor
from turns import Gate

from electrain.batch import Batch, slots
from electrain.cache.temper import entry
from electrain.compute import Step
from electrain.corruptors.cached import Cached
from electrain.randomness import row_keys
from electrain.recipes.fast_electra_cached import TOP
from electrain.run import Run
from electrain.systems.base import Output, Pretraining
from electrain.systems.pair import Pair
from electrain.tail import shares
from electrain.vocab import Vocab

BATCHES = 4


def vocab_of(size: int) -> Vocab:
    """A vocabulary whose first five ids are the special tokens."""
    return Vocab(size, 0, 1, 2, 3, 4, (0, 2, 3, 4))


class Training:
    """A system with fresh weights, its optimizer, and batches, pinned where a GPU reads them.

    said: what compiling said; its last line begins with "compiled in" where it worked
    """

    def __init__(self, run: Run, rows: int, device: torch.device, vocab: Vocab, dtype: torch.dtype, compile: bool):
        torch.manual_seed(0)
        self.run, self.rows, self.device = run, rows, device
        self.system = run.system.build(vocab).to(device)
        self.optimizer = run.optim.build(self.system)
        self.batches = [batch(run, self.system, rows, vocab, number) for number in range(BATCHES)]
        if device.type == "cuda":
            self.batches = [one.map(Tensor.pin_memory) for one in self.batches]
        self.said: list[str] = []
        self.call = Step(self.system, dtype, compile, self.said.append)

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.rows * self.run.length

    def forward(self, number: int) -> Output:
        """The loss of a step, from the host's batch on."""
        here = self.batches[number % BATCHES].map(lambda tensor: tensor.to(self.device, non_blocking=True))
        return self.call(here, torch.full((), 0.5, device=self.device))

    def step(self, number: int) -> Output:
        """All of a step; nothing in it may wait for the device."""
        self.system.before(number, self.run.seed)
        output = self.forward(number)
        output.loss.backward()
        self.update()
        self.system.after(number, output.metrics)
        return output

    def update(self) -> None:
        """What follows the backward pass."""
        self.run.optim.clip_gradients(self.system)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def in_turn(training: Training) -> None:
    """A contestant's steps, until nobody wants another."""
    gate = Gate()
    gate.open()
    for number in itertools.count():
        training.step(number)
        gate.step(training.tokens)


def kept(rate: float, length: int) -> Cached.Config:
    """As a cache's proposals would be kept, none being read."""
    return Cached.Config(slots=slots(rate, length), top=TOP)


def rows_of(rows: int, length: int, vocab: Vocab, random: torch.Generator) -> Tensor:
    """Random ids (rows, length), [CLS] first and [SEP] last."""
    ids = torch.randint(5, vocab.size, (rows, length), generator=random)
    ids[:, 0], ids[:, -1] = vocab.cls, vocab.sep
    return ids


def batch(run: Run, system: Pretraining, rows: int, vocab: Vocab, number: int) -> Batch:
    """Random tokens between [CLS] and [SEP], and cached proposals where the system reads them."""
    random = torch.Generator().manual_seed(number)
    ids = rows_of(rows, run.length, vocab, random)
    real = torch.ones_like(ids, dtype=torch.bool)
    keys = row_keys(run.seed, number, torch.arange(rows))
    beside: tuple[Tensor, ...] = ()
    if system.beside(rows, run.length):
        cached = cast(Cached, cast(Pair, system).corruptor)
        cached.weight.copy_(shares(torch.ones(vocab.size), vocab.special))
        beside = proposals(cached, rows, run.length, vocab, random)
    return Batch(ids, torch.zeros_like(ids), real, ids > vocab.mask, keys, beside)


def proposals(cached: Cached, rows: int, length: int, vocab: Vocab, random: torch.Generator) -> tuple[Tensor, ...]:
    """What a cache would hold of these rows: places in order, and the same slots' proposals for every row."""
    place = torch.stack([torch.randperm(length - 2, generator=random)[: cached.slots] for _ in range(rows)]) + 1
    kept = entry(2 * torch.randn(cached.slots, vocab.size, generator=random), cached.top)
    ids, logp, tail = (value.expand(rows, *value.shape).contiguous() for value in kept)
    return place.sort(1).values, ids.int(), logp, tail
