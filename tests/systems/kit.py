"""What the contract needs to know of a system, a small world for it, and where its cases are found.

Every system has a file in tests/systems/cases/ with `CASES: dict[str, Case]`; nothing else lists them.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, final

import pytest
import torch
from jaxtyping import Int
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.randomness import row_keys
from electrain.run import Run
from electrain.source import MaskedLm, Source
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
class World(Source):
    """A source without files: Zipf's frequencies, and one small masked LM with weights that mean something."""

    def frequencies(self) -> Int[Tensor, " v"]:
        counts = (10_000 / torch.arange(1, VOCAB.size + 1)).long()
        counts[list(VOCAB.special)] = 0
        return counts

    def masked_lm(self, place: str) -> MaskedLm:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            network = shaken(GENERATOR.build(VOCAB), 0.3)
        return network.eval().requires_grad_(False)


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


def batch(step: int = 0, rows: int = 8, first: int = 0) -> Batch:
    """`rows` rows of 16 tokens, from number `first` on, of a text that depends on the step alone."""
    text = torch.Generator().manual_seed(step)
    ids = torch.randint(5, VOCAB.size, (64, 16), generator=text)[first : first + rows]
    ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
    real = torch.ones_like(ids, dtype=torch.bool)
    maskable = (ids != VOCAB.cls) & (ids != VOCAB.sep)
    return Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(3, step, torch.arange(first, first + rows)))


def all_cases() -> dict[str, Case]:
    """Every case of every file."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(cases.__path__):
        found |= importlib.import_module(f"{cases.__name__}.{module.name}").CASES
    return found


def every_case() -> pytest.MarkDecorator:
    """Parametrizes a test with `case`, over all systems."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in all_cases().items()])
