"""Where and how a step is computed: device, number format, compilation."""

import hashlib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from electrain import randomness
from electrain.batch import Batch
from electrain.errors import UserError, reason
from electrain.progress import apart
from electrain.systems.base import Output, Pretraining


@dataclass(frozen=True)
class Compute:
    """What a person can choose of the machine's use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; auto takes a GPU where there is one."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Format of matrix products; weights stay float32. Auto takes bfloat16 where the machine multiplies it natively."""
    compile: bool = True
    """Compile the whole step (torch.compile); where that fails, one line says why and the step runs as it is."""
    threads: int = 0
    """Threads on a CPU; 0 for as many as there are cores."""

    def on_gpu(self) -> bool:
        """Whether the run is on a GPU."""
        return self.device != "cpu" and torch.cuda.is_available()

    def start(self) -> torch.device:
        """The device, with threads and the compiler's cache set."""
        if self.threads < 0:
            raise UserError(f"compute: threads is {self.threads}; choose 0 or more")
        if self.threads:
            torch.set_num_threads(self.threads)
        if "TORCHINDUCTOR_CACHE_DIR" not in os.environ and (cache := _cache()):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("compute: device is cuda, but torch finds no GPU; use --compute.device cpu")
        return torch.device("cuda", torch.cuda.current_device()) if self.on_gpu() else torch.device("cpu")

    def precision(self, device: torch.device) -> torch.dtype:
        """The number format of matrix products on a device."""
        if self.dtype != "auto":
            return torch.bfloat16 if self.dtype == "bfloat16" else torch.float32
        return torch.bfloat16 if has_bfloat16(device) else torch.float32


def _cache() -> Path | None:
    """A lasting folder for compiled code, or None where there is no home to write to.

    PyTorch's default lies in the temporary folder and is gone after a restart; compiling again costs a minute. A folder
    that cannot be made must not be named to it: it would fail at its first operator, compiled or not.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "electrain" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def has_bfloat16(device: torch.device) -> bool:
    """Whether the machine multiplies bfloat16 natively (AMX or AVX512-bf16; tensor cores from Ampere on)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return "AVX512" in flags and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def number_format(dtype: torch.dtype) -> str:
    """Its name, as `--compute.dtype` has it."""
    return str(dtype).removeprefix("torch.")


def casting(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Matrix products in `dtype` inside; sums, norms and losses stay float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def peak_memory(device: torch.device) -> float:
    """MiB: the most that torch held on the GPU, or that this process held in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


class Step:
    """A system's forward pass in the run's number format, compiled as one graph with static shapes where that works.

    A system that runs in several variants, or on rows of several lengths, has one graph for each.

    The compiler works at the first call (forward and backward together); where it fails, one line says why and the
    system runs as it is, with the same numbers to rounding.
    """

    def __init__(self, system: Pretraining, dtype: torch.dtype, compile: bool, say: Callable[[str], None]):
        self.system, self.dtype, self.say = system, dtype, say
        self.call: Callable = system
        self.compile = compile
        self.known: set[Hashable] = set()

    def __call__(self, batch: Batch, progress: Tensor) -> Output:
        with casting(batch.ids.device, self.dtype):
            if self.compile and (graph := (self.system.variant(), batch.ids.shape)) not in self.known:
                self.known.add(graph)
                self._compile(batch, progress)
            return self.call(batch, progress)

    def _compile(self, batch: Batch, progress: Tensor) -> None:
        variant = self.system.variant()
        parameters = list(self.system.parameters())
        gradients = [parameter.grad for parameter in parameters]
        buffers = [buffer.clone() for buffer in self.system.buffers()]
        self.system.zero_grad(set_to_none=True)  # or the rehearsal would add to the gradients kept above
        what = "the step" if variant is None else f"the step ({variant})"
        call = compiled(
            self.system, lambda call: call(batch, progress).loss.backward(), self.say, what=what, dynamic=False
        )
        if call is None:
            self.call, self.compile = self.system, False
        else:
            self.call = call
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for buffer, value in zip(self.system.buffers(), buffers, strict=True):
            buffer.copy_(value)  # the rehearsal counts for nothing: a resumed run rehearses once more


def compiled(
    function: Callable,
    rehearse: Callable[[Callable], object],
    say: Callable[[str], None],
    *,
    what: str = "the step",
    dynamic: bool | None = None,
) -> Callable | None:
    """A module or function compiled as one graph, or None where that fails: one line says why.

    rehearse: calls what it is given as it will be called, with its backward pass if it has one, which is compiled when
              it is first run and must fail here rather than later. The rehearsal's gradients are the caller's to clear.
    """
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    began = time.monotonic()
    say(f"compiling {what}: a minute or two the first time, seconds once it has been compiled here")
    gone: set[Path] = set()
    while True:
        try:
            with apart(), _keeping():
                call = torch.compile(function, fullgraph=True, dynamic=dynamic)
                rehearse(call)
            break
        except (TorchDynamoException, InductorError, OSError) as error:
            if (cut := _cut_short(error)) is None or cut in gone:
                say(f"not compiled, {what} runs slower but the same: {reason(error)[:200]}")
                return None
            cut.unlink(missing_ok=True)
            gone.add(cut)
            say("compiled code was cut short when a run was stopped; it is made again")
    say(f"compiled in {time.monotonic() - began:.0f} s")
    return call


@contextmanager
def _keeping() -> Iterator[None]:
    """Leave to keep a traced graph for the next start although it calls functions of ours; PyTorch asks for it.

    An autograd.Function is traced into the graph and needs no more than that. The code of dropout, which is one call
    there, has to be part of what the kept graph is found by, or a graph of other code would be found.
    """
    from torch._functorch import config as functorch
    from torch._inductor import config as inductor

    leave = "autograd_cache_allow_custom_autograd_functions"
    ours = f"{randomness.dropped.__module__}.{randomness.dropped.__name__}"
    code = hashlib.sha256(inspect.getsource(randomness).encode()).hexdigest()
    marked = inductor.unsafe_marked_cacheable_functions | {ours: code}
    with (
        functorch.patch({leave: True} if hasattr(functorch, leave) else {}),
        inductor.patch(unsafe_marked_cacheable_functions=marked),
    ):
        yield


def _cut_short(error: Exception) -> Path | None:
    """The file of the compiler's cache that could not be loaded: the linker was killed while it wrote it.

    PyTorch takes any file that is there for a whole one, so that nothing would ever be compiled here again.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    named = re.search(r"ImportError: (\S+\.so): ", str(error))
    path = Path(named[1]) if named else None
    return path if path is not None and path.is_relative_to(cache_dir()) else None
