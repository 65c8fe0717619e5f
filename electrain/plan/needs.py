"""What a step needs of a device, found once, on no device: everything else in a plan is arithmetic on it."""

import math
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from electrain.compute import number_format
from electrain.flops import count, structure, vocab_of
from electrain.memory import Live, measure
from electrain.run import Run

# Measured at once, at least: so many that the peak lies where activations are, and that rows x tokens is no width of a
# layer, by which an activation would be taken for a weight. Nothing is computed, so that more cost nothing.
ROWS = 127
COPIES = "copies of weights"
_PRODUCTS = frozenset({"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"})


@dataclass(frozen=True)
class Needs:
    """A run's step, of any number of rows.

    recipe, batch, length: the run's
    steps:       its steps; where they grow, as many whole ones as hold all its tokens
    dtype:       number format of its matrix products
    parameters:  how many, each once however often it is shared
    trained:     how many of them are trained
    layers:      parameters of each layer, the frozen ones' too: what FSDP2 gathers at a time
    last:        trained parameters of the tables, whose gradients are ready last of all
    copies:      bytes of weights in `dtype` that autocast makes, whatever the rows
    alive:       bytes a row at the peak, by what they are and in which format: "activations, bfloat16",
                 "logits, float32", "masks and ids, integers"
    saved:       bytes a row that the forward pass keeps for the backward pass
    operations:  of a row, backward pass included, two for a multiplication and addition
    products:    matrix products of a step, however many rows they are of
    """

    recipe: str
    steps: int
    batch: int
    length: int
    dtype: str
    parameters: int
    trained: int
    layers: tuple[int, ...]
    last: int
    copies: int
    alive: dict[str, float]
    saved: float
    operations: float
    products: int

    @property
    def row(self) -> float:
        """Bytes that a row more takes."""
        return sum(self.alive.values())


def needs(run: Run, vocab_size: int = 30522, dtype: torch.dtype = torch.bfloat16) -> Needs:
    """Of a run with its matrix products in `dtype`; runs a step without numbers (see `memory.py`), which takes seconds.

    The step is not compiled: compiled, it keeps less.
    """
    system = structure(run, vocab_size)
    ledger = Ledger({tuple(parameter.shape) for parameter in system.parameters()}, vocab_size)
    whole = run.batch // run.accumulate  # some systems read rows in groups that divide it
    rows = whole * max(5, math.ceil(ROWS / whole))
    memory = measure(run, vocab_of(vocab_size), rows, dtype, ledger)
    peak = dict(ledger.peak)
    copies = peak.pop(COPIES, 0)
    tables = system.split().embeddings.parameters()
    return Needs(
        recipe=run.recipe,
        steps=round(run.tokens(run.steps) / (run.batch * run.length)),
        batch=run.batch,
        length=run.length,
        dtype=number_format(dtype),
        parameters=memory.weights // 4,
        trained=memory.gradients // 4,
        layers=tuple(sum(parameter.numel() for parameter in layer.parameters()) for layer in system.layers()),
        last=sum(parameter.numel() for parameter in tables if parameter.requires_grad),
        copies=copies,
        alive={kind: size / rows for kind, size in sorted(peak.items()) if size},
        saved=(memory.saved - min(copies, memory.saved)) / rows,
        operations=count(run, vocab_size).plain_total.token * run.length,
        products=ledger.products,
    )


class Ledger(Live):
    """Follows what is alive, and at the peak knows of what kind it is; counts matrix products.

    A storage with the shape of a parameter is a weight's copy or gradient in passing; one that is as wide as the
    vocabulary holds logits.
    """

    def __init__(self, shapes: set[tuple[int, ...]], vocab_size: int) -> None:
        super().__init__()
        self.shapes = shapes | {shape[::-1] for shape in shapes}
        self.vocab_size = vocab_size
        self.kinds: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += func._schema.name in _PRODUCTS
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _follow(self, tensor: Tensor) -> None:
        before, most = self.now, self.most
        super()._follow(tensor)
        if self.now == before:
            return
        kind, size = self._kind(tensor), self.now - before
        self.kinds[kind] += size
        weakref.finalize(tensor.untyped_storage(), self.kinds.subtract, {kind: size})
        if self.most > most:
            self.peak = self.kinds.copy()

    def _kind(self, tensor: Tensor) -> str:
        shape = tuple(tensor.shape)
        if shape in self.shapes and len(shape) > 1:
            return COPIES
        if not tensor.is_floating_point():
            return "masks and ids, integers"
        what = "logits" if self.vocab_size in shape else "activations"
        return f"{what}, {number_format(tensor.dtype)}"
