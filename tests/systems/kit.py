"""What the contract needs to know of a system, a small world for it, and where its cases are found.

Every system has a file in tests/systems/cases/ with `CASES: dict[str, Case]`; nothing else lists them.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast, final

import numpy as np
import pytest
import torch
from jaxtyping import Int
from torch import Tensor, nn

from electrain.batch import Batch, Reader
from electrain.cache.temper import entry
from electrain.data.examples import Packing, Rows
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.randomness import row_keys
from electrain.run import Run
from electrain.source import MaskedLm, Proposals, Source
from electrain.systems.base import Pretraining
from tests.systems import cases
from tests.training import VOCAB, tiny

Network = TypeVar("Network", bound=nn.Module)
GENERATOR = EncoderLm.Config(Bert.Config(layers=1, hidden=16, ffn=32, heads=1, embedding=16, positions=16))


@dataclass(frozen=True)
class Case:
    """A small instance of a system, over `tests.training.VOCAB` and rows of 16 tokens.

    config:   the system
    still:    beginnings of the names of parameters that no gradient may reach
    changed:  whether `replaced` means changed ids (noise on embeddings changes none)
    run:      fields of the Run that the system needs beside (an optimizer of its own, ...)
    steps:    steps that it is tried at; `before` must have chosen every variant in them
    """

    config: Pretraining.Config
    still: tuple[str, ...] = ()
    changed: bool = True
    run: dict[str, Any] = field(default_factory=dict)
    steps: tuple[int, ...] = (0, 1, 2, 3)


@final
class Text(Packing):
    """64 rows of 16 tokens that depend on a step alone."""

    def __init__(self, step: int):
        self.rows, self.length, self.step = 64, 16, step

    def take(self, rows: Int[np.ndarray, " n"]) -> Rows:
        text = torch.Generator().manual_seed(self.step)
        ids = torch.randint(5, VOCAB.size, (self.rows, self.length), generator=text)[torch.from_numpy(rows)]
        ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
        return Rows(ids.numpy(), np.zeros_like(ids), np.ones(ids.shape, np.bool_))


@final
class Made(Proposals, Reader):
    """Proposals without files: two places of a row in turn, the eight likeliest of made-up logits."""

    slots, top, checksum = 2, 8, "made"

    def reader(self, packing: Packing) -> Reader:
        return self

    def take(self, rows: Int[np.ndarray, " b"], epochs: Int[np.ndarray, " b"]) -> tuple[np.ndarray, ...]:
        logits = torch.stack(
            [torch.randn(2, VOCAB.size, generator=torch.Generator().manual_seed(int(row))) * 3 for row in rows]
        )
        first = 1 + (rows + epochs) % 7
        kept = entry(logits, self.top)
        return np.stack([first, first + 7], 1), kept.ids.int().numpy(), kept.logp.numpy(), kept.tail.numpy()


@final
class World(Source):
    """A source without files: Zipf's frequencies, one small masked LM with weights that mean something, proposals."""

    def frequencies(self) -> Int[Tensor, " v"]:
        counts = (10_000 / torch.arange(1, VOCAB.size + 1)).long()
        counts[list(VOCAB.special)] = 0
        return counts

    def masked_lm(self, place: str) -> MaskedLm:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            network = shaken(GENERATOR.build(VOCAB), 0.3)
        return network.eval().requires_grad_(False)

    def encoder(self) -> nn.Module:
        return cast(EncoderLm, self.masked_lm("")).encoder

    def proposals(self, place: str) -> Proposals:
        return Made()


def shaken(network: Network, by: float) -> Network:
    """Weights that mean something: with fresh ones every token is as likely, and errors would not show."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * by)
    return network


def build(case: Case) -> Pretraining:
    """The system as a run would begin it, with shaken weights."""
    torch.manual_seed(1)
    system = shaken(case.config.resolve(World()).build(VOCAB), 0.05)
    system.start(World())
    return system


def run_of(case: Case, steps: int, **fields: Any) -> Run:
    """A run of a case on `tests.training.make_data`."""
    run = tiny(steps=steps, log_every=3, eval_every=100, save_every=4)
    return replace(run, system=case.config, **{**case.run, **fields})


def batch(step: int = 0, rows: int = 8, first: int = 0, case: Case | None = None) -> Batch:
    """`rows` rows of 16 tokens, from number `first` on, of a text that depends on the step alone; with a case, what its
    system reads beside them.
    """
    text, numbers = Text(step), np.arange(first, first + rows)
    ids, segments, real = (torch.from_numpy(array) for array in text.take(numbers))
    maskable = (ids != VOCAB.cls) & (ids != VOCAB.sep)
    reader = case.config.resolve(World()).reader(World(), text) if case is not None else None
    beside = reader.take(numbers, np.full(rows, step)) if reader is not None else ()
    keys = row_keys(3, step, torch.from_numpy(numbers))
    return Batch(ids, segments, real, maskable, keys, tuple(torch.from_numpy(array) for array in beside))


def all_cases() -> dict[str, Case]:
    """Every case of every file."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(cases.__path__):
        found |= importlib.import_module(f"{cases.__name__}.{module.name}").CASES
    return found


def every_case(quick: tuple[str, ...] | None = None) -> pytest.MarkDecorator:
    """Parametrizes a test with `case`, over all systems; of a costly test all but the `quick` ones are marked slow."""
    found = all_cases()
    assert set(quick or ()) <= set(found)
    marks = {name: [] if quick is None or name in quick else [pytest.mark.slow] for name in found}
    return pytest.mark.parametrize("case", [pytest.param(found[name], id=name, marks=marks[name]) for name in found])
