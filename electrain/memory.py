"""Memory of a training step, found by running it without numbers.

The step runs on tensors that have a shape and a type but no storage (torch's FakeTensorMode), so that ELECTRA-Large at
its real batch is measured in seconds on any machine; and what is measured is the code that trains, not a formula.
"""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from electrain.batch import Batch
from electrain.compute import casting
from electrain.encoders.attention import fused
from electrain.outline import outline
from electrain.run import Run
from electrain.vocab import Vocab


@dataclass(frozen=True)
class Memory:
    """Bytes that training holds on one process, on top of what torch itself takes.

    weights:     float32 parameters, each once
    gradients:   as many
    adam:        running means of gradients and of their squares, float32
    saved:       what the forward pass keeps for the backward pass, copies of the weights in bf16 included
    activations: the most that is alive at once of all that forward and backward make: `saved`, and what operations need
                 in passing, above all logits over the vocabulary
    """

    weights: int
    gradients: int
    adam: int
    saved: int
    activations: int

    @property
    def total(self) -> int:
        """The peak of a step: weights + gradients + adam + activations.

        Of a step that is not compiled, with a GPU's attention. A compiled step needs less: it makes dropout masks and
        cheap intermediates anew in the backward pass. On a GPU autocast keeps the outputs of LayerNorms in float32.
        """
        return self.weights + self.gradients + self.adam + self.activations


def measure(
    run: Run,
    vocab: Vocab,
    rows: int | None = None,
    dtype: torch.dtype = torch.bfloat16,
    live: "Live | None" = None,
) -> Memory:
    """Memory of a step of `rows` rows (default: a micro-batch, run.batch / run.accumulate), products in `dtype`.

    live: follows what is alive; one of the caller's own may look closer.
    Data-dependent control flow in a system (a Python branch on a tensor's value) cannot be run this way; torch then
    raises DataDependentOutputException.
    """
    rows = rows or run.batch // run.accumulate
    with outline():
        system = run.system.build(vocab).train()
    with FakeTensorMode():
        # Fresh leaves on the CPU, in name only: autocast knows no meta device. A shared parameter stays one.
        leaves = {
            name: torch.empty(old.shape, dtype=old.dtype, requires_grad=old.requires_grad)
            for name, old in (*system.named_parameters(), *system.named_buffers())
        }
        parameters = [leaves[name] for name, _ in system.named_parameters()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        batch, progress = blank(rows, run.length), torch.zeros(())
        batch = batch._replace(extra=system.beside(rows, run.length))
        with live or Live() as live:
            with casting(progress.device, dtype), fused(), Saved(parameters) as kept:
                loss = torch.func.functional_call(system, leaves, (batch, progress)).loss
            loss.backward()
    learnt = sum(4 * parameter.numel() for parameter in trained)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    return Memory(weights, learnt, 2 * learnt, kept.bytes, live.most)


def blank(rows: int, length: int) -> Batch:
    """A batch of the given size that holds nothing in particular."""
    ids = torch.zeros(rows, length, dtype=torch.int64)
    real = torch.ones(rows, length, dtype=torch.bool)
    return Batch(ids, torch.zeros_like(ids), real, torch.ones_like(real), torch.zeros(rows, dtype=torch.int64))


class Saved(saved_tensors_hooks):
    """Within it, counts the bytes that autograd keeps for the backward pass: each storage once, parameters left out."""

    def __init__(self, parameters: Iterable[Tensor]):
        super().__init__(self._pack, lambda tensor: tensor)
        self._seen = {_storage(parameter) for parameter in parameters}
        self.bytes = 0

    def __enter__(self) -> "Saved":
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> Tensor:
        # What is packed stays alive until the backward pass, so an address names one storage.
        if _storage(tensor) not in self._seen:
            self._seen.add(_storage(tensor))
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


class Live(TorchDispatchMode):
    """Within it, follows the storages that operations make: bytes alive now, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _storage(leaf) not in before:
                self._follow(leaf)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage, address = tensor.untyped_storage(), _storage(tensor)
        if address in self._alive:
            return
        size = storage.nbytes()

        def gone(_: weakref.ref) -> None:
            self.now -= size
            del self._alive[address]

        self._alive[address] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
