"""Several processes as one: started, told apart, agreed, spread over. The only file that knows ranks.

A run on N processes (`torchrun --nproc-per-node N -m electrain pretrain ...`) computes what one process computes: each
reads its part of every micro-batch, averages are over all parts, and rank 0 alone writes.
"""

import inspect
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from electrain.errors import Elsewhere, UserError, reason

_T = TypeVar("_T")
_ASK_EVERY = 8  # steps
_PATIENCE = 5.0  # seconds
_SILENCE = ("timed out", "timeout", "closed by peer", "reset by peer")  # what a connection says when another is gone
_aside: list[dist.ProcessGroup] = []  # a second group, for the thread that saves: its messages must not meet the steps'


@dataclass(frozen=True)
class Parallel:
    """How several processes share a run; with one process nothing of it is used."""

    kind: Literal["ddp", "fsdp"] = "ddp"
    """Each process holds all weights (DDP), or a part of every layer's weights and of their optimizer state (FSDP2)."""
    gather: Literal["float32", "bfloat16"] = "float32"
    """Format in which FSDP2 sends weights around; bfloat16 halves the traffic, and LayerNorms then read rounded
    weights."""
    timeout: float = 30.0
    """Minutes that the processes wait for one that is silent; then all of them end, and say which it was."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout < 1e6:
            raise UserError(f"parallel: timeout is {self.timeout}; choose minutes above 0")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _many() else int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if _many() else 1


def first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return rank() == 0


@contextmanager
def together(parallel: Parallel, cuda: bool) -> Iterator[None]:
    """Join the processes that torchrun started, if it did; leave them at the end. Inside another, nothing happens."""
    if _many() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    local, beside = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if cuda:
        if local >= torch.cuda.device_count():
            raise UserError(
                f"parallel: process {local} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; give torchrun --nproc-per-node {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(local)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // beside))  # torchrun leaves one thread to each
    wait = timedelta(minutes=parallel.timeout)
    try:
        store, number, count = next(dist.rendezvous("env://", timeout=wait))
        # torchrun keeps the store when it starts the processes again: in it stand the addresses of those before.
        store = dist.PrefixStore(f"electrain/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{count}", store)
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=wait)
    except (RuntimeError, ValueError) as error:  # DistStoreError among them
        raise UserError(
            f"parallel: the processes do not find each other ({reason(error)}); see torchrun --help"
        ) from error
    _aside.append(dist.new_group(backend="gloo", timeout=wait))  # pyright: ignore
    try:
        yield
    finally:
        _aside.clear()
        dist.destroy_process_group()


def aside() -> dist.ProcessGroup | None:
    """The processes once more, for use on a thread; None where there is one."""
    return _aside[0] if _aside else None


def total(number: Tensor) -> Tensor:
    """The sum over all processes of a tensor of the same shape on each; each of them must call this.

    In a compiled graph too.
    """
    if ranks() == 1:
        return number
    number = number.clone()
    dist.all_reduce(number)
    return number


def told(value: Callable[[], _T]) -> _T:
    """What rank 0 finds, on all processes; its UserError ends all of them."""
    if ranks() == 1:
        return value()
    answer = [agreed(lambda: value() if first() else None)]
    dist.broadcast_object_list(answer, src=0)
    return cast(_T, answer[0])


def agreed(function: Callable[[], _T]) -> _T:
    """A function's result on each process; where one of them meets a UserError, all end, and only one says so."""
    if ranks() == 1:
        return function()
    result, own = None, None
    try:
        result = function()
    except UserError as found:
        own = found
    said: list[str | None] = [None] * ranks()
    dist.all_gather_object(said, None if own is None else str(own))
    speaker = next((number for number, text in enumerate(said) if text is not None), None)
    if speaker is None:
        return cast(_T, result)
    if own is not None and speaker == rank():
        raise own
    raise Elsewhere


def any_of(flags: list[bool], step: int) -> list[bool]:
    """Each flag, whether it is up on any process. Several ask each other every few steps."""
    if ranks() == 1:
        return flags
    if step % _ASK_EVERY:
        return [False] * len(flags)
    up = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(up, dist.ReduceOp.MAX)
    return [bool(flag) for flag in up.tolist()]


@contextmanager
def answering() -> Iterator[None]:
    """Where another process is gone or silent, a UserError that names it in place of what the connection says."""
    try:
        yield
    except RuntimeError as error:
        if ranks() == 1 or not any(sign in str(error).lower() for sign in _SILENCE):
            raise
        who = _missing()
        if rank() != min(set(range(ranks())) - set(who), default=0):
            raise Elsewhere from error
        named = f"process {', '.join(map(str, who))} does not answer" if who else "a process did not answer in time"
        why = re.sub(r"^\[\S+\] ", "", reason(error))[:80]  # without the name of a source file of PyTorch's
        raise UserError(f"parallel: {named} ({why}); start again, it goes on from the last checkpoint") from error


def _missing() -> list[int]:
    """The processes that do not notice that one is missing: those that are gone or stand still."""
    store, found = dist.distributed_c10d._get_default_store(), [0]

    def ask() -> None:
        with suppress(RuntimeError):
            store.set(f"electrain/here/{rank()}", "")
            time.sleep(_PATIENCE)  # the others notice it within moments of each other
            found[:] = [number for number in range(ranks()) if not store.check([f"electrain/here/{number}"])]
            time.sleep(_PATIENCE if first() else 0)  # the store may be this process's, and the others still read

    # Without torchrun the store is with the first: it gives no answer if that one is gone, and none ever if it stands.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(3 * _PATIENCE)
    return found


def common(error: Exception) -> Exception:
    """An error that all processes meet at the same place: rank 0 says it, the others end with it."""
    return error if first() else Elsewhere()


def parted(tensor: Tensor) -> bool:
    """Whether each process holds a part of the tensor."""
    return hasattr(tensor, "placements")  # a DTensor: to import its type takes a second, to no end on one process


def whole(tensor: Tensor) -> Tensor:
    """A tensor in full, where FSDP2 holds a part of it on each process; all of them must call this."""
    return tensor.full_tensor() if parted(tensor) else tensor  # pyright: ignore


def fill(tensor: Tensor, source: Tensor) -> None:
    """Copy a tensor that each process has in full into one of which it may hold a part."""
    if not parted(tensor):
        tensor.copy_(source)
        return
    from torch.distributed.tensor import distribute_tensor

    source = source.to(tensor.device, tensor.dtype)
    tensor.copy_(distribute_tensor(source, tensor.device_mesh, tensor.placements, src_data_rank=None))  # pyright: ignore


class Spread:
    """A system over the processes: call it like the system. Gradients are averaged with the last micro-batch's.

    leaves_out: whether some steps give some parameters no gradient
    """

    def __init__(self, system: nn.Module, step: Callable, parallel: Parallel, leaves_out: bool):
        self.call: Callable = step
        self.system = system
        self._ddp: nn.parallel.DistributedDataParallel | None = None
        self._fsdp = ranks() > 1 and parallel.kind == "fsdp"
        if ranks() > 1 and not self._fsdp:
            # Buffers are the same on all; later versions take its newer name alone without a warning.
            known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
            quiet = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
            settings: dict[str, Any] = {quiet: False, "find_unused_parameters": leaves_out}
            whole = _Called(system, step)
            self._ddp = self.call = nn.parallel.DistributedDataParallel(whole, gradient_as_bucket_view=True, **settings)
        self._settled = self._ddp is None or leaves_out  # such gradients stay in the buckets where they were put

    def settle(self, batch: object, progress: Tensor) -> None:
        """Before the first step: a pass forward and backward of which nothing stays but DDP's buckets.

        It lays them out anew after the first one, and a sum over three processes is rounded by where in a bucket a
        gradient lies: a run that goes on would differ from one that never stopped.
        """
        if self._settled:
            return
        self._settled = True
        buffers = {name: buffer.clone() for name, buffer in self.system.named_buffers()}
        self.call(batch, progress).loss.backward()
        self.system.zero_grad(set_to_none=True)
        for name, buffer in self.system.named_buffers():
            buffer.copy_(buffers[name])

    def micro(self, last: bool) -> AbstractContextManager:
        """Around the forward and backward pass of a micro-batch."""
        if self._fsdp:
            self.system.set_requires_gradient_sync(last)  # pyright: ignore
        return nullcontext() if last or self._ddp is None else self._ddp.no_sync()


def shard(system: nn.Module, layers: list[nn.Module], parallel: Parallel, device: torch.device, compile: bool) -> bool:
    """Leave each process a part of every weight, if that is chosen: gathered layer by layer as they are used (FSDP2).

    Returns whether it is so; the layers are then compiled, one by one, if that is wanted: gathering is no graph.

    All that is in no layer (embeddings, heads) is gathered once a step: the token table is read in several places.
    """
    if ranks() == 1 or parallel.kind == "ddp":
        return False
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (ranks(),))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = half if parallel.gather == "bfloat16" else MixedPrecisionPolicy()
    for layer in dict.fromkeys(layers):
        if compile:
            layer.compile(fullgraph=True)
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(system, mesh=mesh, mp_policy=policy)
    return True


def put_away(system: nn.Module) -> None:
    """Leave each process its part again after a forward pass that no backward pass followed."""
    if hasattr(system, "reshard"):
        system.reshard()  # pyright: ignore


class _Called(nn.Module):
    """A module whose forward pass is a call of the system in some other form."""

    def __init__(self, system: nn.Module, step: Callable):
        super().__init__()
        self.system, self.step = system, step

    def forward(self, *arguments: object) -> object:
        return self.step(*arguments)


def _many() -> bool:
    return dist.is_available() and dist.is_initialized()
