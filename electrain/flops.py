"""What a run costs: parameters, operations counted plainly and the paper's way, memory, days."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from rich.console import Group
from rich.table import Table
from torch import nn

from electrain.compute import number_format
from electrain.memory import Memory, measure
from electrain.outline import outline
from electrain.run import Run
from electrain.systems.base import Pretraining
from electrain.vocab import Vocab

# Backward passes in units of the forward pass. Plain: every product needs the gradients of both its factors. The
# official script takes the backward pass to cost as much as the forward pass.
_PLAIN_BACKWARD, _PAPER_BACKWARD = 2, 1

EARLIER = "the first stage"


class Operations(NamedTuple):
    """Training operations, backward passes included: of a token, of an update (the whole batch), of the run."""

    token: float
    step: float
    run: float


class Parameters(NamedTuple):
    """Parameters of a system, each once however often it is shared.

    embeddings: the encoder's tables and their LayerNorm
    encoder:    its layers and projection
    head:       the objective's
    corruptor:  what only the corruptor has: a generator's layers and head, and its own tables where none are shared
    """

    embeddings: int
    encoder: int
    head: int
    corruptor: int

    @property
    def model(self) -> int:
        """What papers give as a model's size, and what is fine-tuned: embeddings, encoder, head."""
        return self.embeddings + self.encoder + self.head


@dataclass(frozen=True)
class Cost:
    """Operations and parameters of a run; `plain` and `paper` hold the operations of each part.

    The run of a stage before it is a part by itself (`EARLIER`), which costs nothing a token or a step of this one.
    """

    parameters: Parameters
    plain: dict[str, Operations]
    paper: dict[str, Operations]

    @property
    def plain_total(self) -> Operations:
        """All parts, 2mnk a matrix product, forward and backward."""
        return _add(self.plain.values())

    @property
    def paper_total(self) -> Operations:
        """All parts, by the conventions of the official ELECTRA code (see `cost.py`)."""
        return _add(self.paper.values())


def count(run: Run, vocab_size: int = 30522) -> Cost:
    """Count a run over a vocabulary of `vocab_size`: from its system's structure, without making its weights."""
    system = structure(run, vocab_size)

    plain: dict[str, Operations] = {}
    paper: dict[str, Operations] = {}
    for length, rows in run.growth.parts(run.steps, run.batch, run.length):
        whole = length == run.length  # a token and an update are those of full rows
        for item in system.cost(length, vocab_size):
            for counts, once, backward in ((plain, item.plain, _PLAIN_BACKWARD), (paper, item.paper, _PAPER_BACKWARD)):
                row = once * (1 + backward if item.trained else 1)
                own = Operations(row / length * whole, float(row * run.batch * whole), float(row * rows))
                counts[item.part] = _add([counts.get(item.part, Operations(0.0, 0.0, 0.0)), own])
    if run.first is not None:
        earlier = count(run.first, vocab_size)
        plain[EARLIER] = Operations(0.0, 0.0, earlier.plain_total.run)
        paper[EARLIER] = Operations(0.0, 0.0, earlier.paper_total.run)
    return Cost(parameters(system), plain, paper)


def parameters(system: Pretraining, trained: bool = False) -> Parameters:
    """Parameters of a built system, split; a shared one counts where it comes first in the order of `Parameters`.

    trained: only those that are
    """
    seen: set[int] = set()

    def fresh(module: nn.Module) -> int:
        new = [parameter for parameter in module.parameters() if id(parameter) not in seen]
        seen.update(id(parameter) for parameter in new)
        return sum(parameter.numel() for parameter in new if parameter.requires_grad or not trained)

    return Parameters(*(fresh(part) for part in system.split()))


def describe(run: Run, vocab_size: int = 30522, tokens_per_second: float | None = None) -> Group:
    """Tables for people: parameters, operations, memory of a micro-batch; days where a speed is given.

    A stage before it comes first, with tables of its own.
    """
    cost = count(run, vocab_size)
    dtype = torch.float32 if run.compute.dtype == "float32" else torch.bfloat16
    rows = run.batch // run.accumulate
    memory = measure(run, vocab_of(vocab_size), rows, dtype)
    tokens = run.tokens(run.steps)
    lines = [f"{run.recipe or 'run'}: {run.extent}, {tokens / 1e9:,.3g} billion tokens; vocabulary {vocab_size:,}"]
    if tokens_per_second:
        rate = cost.plain_total.token * tokens_per_second / 1e12
        lines.append(
            f"{tokens / tokens_per_second / 86400:,.1f} days at {tokens_per_second:,.0f} tokens a second, "
            f"which is {rate:,.2f} TFLOP/s"
        )
    before = ["First stage", describe(run.first, vocab_size), "\nSecond stage"] if run.first is not None else []
    return Group(
        *before,
        *lines,
        "\nParameters",
        _parameter_table(cost.parameters),
        "\nOperations of training",
        _operation_table(cost),
        "Plain: 2mnk a matrix product, three times where it is trained. Paper's way: as the official ELECTRA script,",
        "dense look-ups and elementwise work included, a backward pass like a forward pass.",
        f"\nMemory of one process with {rows:,} rows at once, {number_format(dtype)}, not compiled",
        _memory_table(memory),
        f"A row more takes {memory.activations / rows / 2**20:,.1f} MiB; accumulate puts fewer rows at once.",
    )


def structure(run: Run, vocab_size: int) -> Pretraining:
    """The run's system without weights."""
    with outline():
        return run.system.build(vocab_of(vocab_size))


def vocab_of(size: int) -> Vocab:
    """A vocabulary for counting, which needs its size alone: the ids are anything valid."""
    return Vocab(size, pad=0, unk=0, cls=0, sep=0, mask=0, special=(0,))


def _add(parts: Iterable[Operations]) -> Operations:
    return Operations(*(sum(column) for column in zip(*parts, strict=True)))


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _parameter_table(numbers: Parameters) -> Table:
    table = _table("part", "parameters")
    for name, value in numbers._asdict().items():
        if value:
            table.add_row(name, f"{value:,}")
    table.add_section()
    table.add_row("the model (all but the corruptor)", f"{numbers.model:,}")
    table.add_row("in training", f"{sum(numbers):,}")
    return table


def _operation_table(cost: Cost) -> Table:
    table = _table("part", "a token", "a step", "the run", "share", "the run, paper's way", "share")
    plain, paper = cost.plain_total, cost.paper_total
    for name, value in cost.plain.items():
        theirs = cost.paper[name].run
        shares = f"{value.run / plain.run:.1%}", f"{theirs / paper.run:.1%}"
        table.add_row(name, *(_short(number) for number in value), shares[0], _short(theirs), shares[1])
    table.add_section()
    table.add_row("all", *(_short(number) for number in plain), "", _short(paper.run), "")
    return table


def _memory_table(memory: Memory) -> Table:
    table = _table("what", "GiB")
    for name, size in (
        ("weights, float32", memory.weights),
        ("gradients", memory.gradients),
        ("Adam's two means", memory.adam),
        ("activations, at their peak", memory.activations),
    ):
        table.add_row(name, f"{size / 2**30:,.3f}")
    table.add_section()
    table.add_row("all", f"{memory.total / 2**30:,.3f}")
    return table


def _short(number: float) -> str:
    return f"{number:.3e}" if number else "0"
