"""Weights, optimizer and step: whole or not at all.

A checkpoint is a folder `step-000100` with model.safetensors, optimizer.safetensors, state.json and checksums.json.
Where weights lie spread over processes (FSDP2), `parts/` with a file of each process stands in place of the first two.
It is written under another name, synced, and renamed; a reader checks every SHA-256 before it believes a byte.
"""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from electrain.distributed import aside, fill, first, parted, told
from electrain.errors import UserError, reason
from electrain.files import sha256, sync, write

FOLDER = "checkpoints"
MODEL, OPTIMIZER, PARTS = "model.safetensors", "optimizer.safetensors", "parts"
BEST = "best.json"


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, under the first of its names: sharing is the model's business."""
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in found.items()}


def save(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Path:
    """Write RUN/checkpoints/step-N. UserError if the disk will not take it; earlier checkpoints are untouched."""
    with Saver(run) as saver:
        return saver.save(step, model, optimizer, state)


class Saver:
    """Writes checkpoints while training goes on: what is saved is copied, and a thread brings it to the disk.

    Leaving it, or the next save, waits for the one before; a UserError of the thread is raised there.
    keep: last checkpoints that stay, beside the best; all of them if it is None
    """

    def __init__(self, run: Path, keep: int | None = None):
        self.run, self.keep = run, keep
        self.seconds = 0.0
        """How long `save` and `wait` have held training up."""
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="electrain-checkpoint")
        self._coming: Future[None] | None = None

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Path:
        """Begin to write RUN/checkpoints/step-N; every process of a run must call this."""
        self.wait()
        began = time.monotonic()
        folder = self.run / FOLDER
        final, beside = folder / f"step-{step:06d}", folder / f".writing-{step:06d}"
        tensors = weights(model), _optimizer_state(model, optimizer)
        state = {"step": step, **state}
        if any(parted(tensor) for tensor in tensors[0].values()):
            from electrain import sharded  # costs a second, and is seldom needed

            told(lambda: _cleared(beside, final))
            parts = sharded.write(beside / PARTS, {**tensors[0], **tensors[1]}, aside())
            self._coming = self._pool.submit(self._finish, beside, final, state, parts)
        elif first():
            whole = [{name: tensor.to("cpu", copy=True) for name, tensor in part.items()} for part in tensors]
            self._coming = self._pool.submit(self._finish, beside, final, state, lambda: _files(beside, *whole))
        self.seconds += time.monotonic() - began
        return final

    def wait(self) -> None:
        """Until the last checkpoint is on the disk. UserError if the disk would not take it."""
        began = time.monotonic()
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.result()
        self.seconds += time.monotonic() - began

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.wait()
        except UserError:
            if kind is None:  # of two errors, the first is told
                raise
        finally:
            self._pool.shutdown()

    def _finish(self, beside: Path, final: Path, state: dict[str, Any], tensors: Callable[[], None]) -> None:
        """Bring the tensors to the disk; then, on one process, all else, and the name by which it is a checkpoint."""
        try:
            tensors()
            if not first():
                return
            write(beside / "state.json", json.dumps(state).encode())
            files = sorted(path for path in beside.rglob("*") if path.is_file())
            sums = {str(path.relative_to(beside)): sha256(path) for path in files}
            for path in files:
                sync(path)
            write(beside / "checksums.json", json.dumps(sums, indent=1).encode())
            if final.exists():  # of this very step, found damaged when the run was gone on with
                shutil.rmtree(final)
            beside.rename(final)
            sync(final.parent)
            best = state.get("best")
            if best:
                left = [path.name for path in listed(self.run)[: -self.keep]] if self.keep is not None else []
                alone = best["checkpoint"] in (*left, lone(self.run))
                write(final.parent / BEST, json.dumps({**best, "lone": alone}).encode())
            if self.keep is not None:
                prune(self.run, self.keep, best and best["checkpoint"])
        except (OSError, SafetensorError, UserError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise _unwritten(final, error) from error


def _files(beside: Path, model: dict[str, Tensor], optimizer: dict[str, Tensor]) -> None:
    _clear(beside)
    save_file({name: tensor.contiguous() for name, tensor in model.items()}, beside / MODEL)
    save_file(optimizer, beside / OPTIMIZER)


def _clear(beside: Path) -> None:
    beside.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()


def _cleared(beside: Path, final: Path) -> None:
    try:
        _clear(beside)
    except OSError as error:
        raise _unwritten(final, error) from error


def _unwritten(final: Path, error: Exception) -> UserError:
    why = error.strerror if isinstance(error, OSError) else reason(error)
    return UserError(f"{final}: the checkpoint cannot be written ({why}); earlier ones are untouched")


def listed(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    found = [path for path in (run / FOLDER).glob("step-*") if path.name[5:].isdecimal()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name[5:])


def lone(run: Path) -> str | None:
    """The name of the best checkpoint if it is kept for that alone, so that there is a gap after it; else None."""
    marked = _marked(run)
    return marked.get("checkpoint") if marked.get("lone") else None


def _marked(run: Path) -> dict[str, Any]:
    """What stands of the best checkpoint; nothing where that is missing or damaged."""
    try:
        found = json.loads((run / FOLDER / BEST).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def latest(run: Path, warn: Callable[[str], None], of: str = "") -> Path | None:
    """The newest whole checkpoint (see `damage`), or None; damaged ones are named to `warn` and passed over."""
    for path in reversed(listed(run)):
        if what := damage(path, of):
            warn(f"{path}: damaged ({what}); the checkpoint before it is used")
        else:
            return path
    return None


def best(run: Path, warn: Callable[[str], None]) -> Path | None:
    """The checkpoint with the lowest held-out loss, or the latest where none is marked or it is damaged.

    UserError if what is marked is no checkpoint of the run: a name could lead anywhere.
    """
    marked = _marked(run)
    if "checkpoint" not in marked:
        return latest(run, warn)
    name = marked["checkpoint"]
    if not isinstance(name, str) or Path(name).name != name or not name.startswith("step-"):
        raise UserError(f"{run}: best.json names {name!r}, which is no checkpoint of this run; choose another")
    path = run / FOLDER / name
    if what := damage(path):
        warn(f"{path}: damaged ({what}); the latest checkpoint is used instead of the best")
        return latest(run, warn)
    return path


def damage(path: Path, of: str = "") -> str | None:
    """What is wrong with a checkpoint, or None. `of`: the run that it must be of ("of" in the state that was saved)."""
    try:
        sums = json.loads((path / "checksums.json").read_text())
        needed = ["state.json", *([] if (path / PARTS).is_dir() else [MODEL, OPTIMIZER])]
        if missing := [name for name in needed if name not in sums]:
            return f"checksums.json does not list {missing[0]}"
        for name, digest in sums.items():
            if ".." in Path(name).parts or Path(name).is_absolute():
                return f"checksums.json names {name}, which lies elsewhere"
            if sha256(path / name) != digest:
                return f"{name} does not match its checksum"
        parts = (str(file.relative_to(path)) for file in (path / PARTS).glob("*"))
        if more := sorted(set(parts) - set(sums)):
            return f"{more[0]} was not written with it"
        state = json.loads((path / "state.json").read_text())
        if state["step"] != step_of(path):
            return f"it is of step {state['step']}"
        if of and state.get("of", of) != of:
            return "it is of another run"
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        return reason(error)
    return None


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a checkpoint. UserError if names or shapes differ."""
    _fill(weights(model), path, MODEL, None)


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Fill a model and its optimizer from a checkpoint; returns the state saved with them, the step among it.

    The model may be spread over other processes than those that saved it, or over none. On several processes each of
    them must call this. UserError if names or shapes differ.
    """
    _fill(weights(model), path, MODEL, aside())
    _fill(_optimizer_state(model, optimizer), path, OPTIMIZER, aside())
    return json.loads((path / "state.json").read_text())


def prune(run: Path, keep: int, best: str | None) -> None:
    """Delete all but the last `keep` checkpoints and the best one."""
    for path in listed(run)[:-keep]:
        if path.name != best:
            # Renamed first: a crash in the middle of deleting must not leave a folder that looks like a checkpoint.
            gone = path.with_name(f".deleting-{path.name}")
            path.rename(gone)
            shutil.rmtree(gone)


def sweep(run: Path, step: int) -> None:
    """Delete what a crash left half-written or half-deleted, and damaged checkpoints after `step`.

    The steps after it are made again; until then a damaged one would pass for one of the last that are kept.
    """
    for path in [*(run / FOLDER).glob(".*"), *(path for path in listed(run) if step_of(path) > step)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}.{field}": value
        for parameter, state in optimizer.state.items()
        for field, value in state.items()
    }


def _fill(into: dict[str, Tensor], path: Path, name: str, group: dist.ProcessGroup | None) -> None:
    if (path / PARTS).is_dir():
        from electrain import sharded

        return sharded.read(path / PARTS, into, group)
    try:
        source = load_file(path / name)
    except SafetensorError as error:
        raise UserError(f"{path / name}: holds no tensors ({reason(error)}); use another checkpoint") from error
    if missing := sorted(into.keys() ^ source.keys()):
        raise UserError(
            f"{path / name}: does not fit the model ({missing[0]} and {len(missing) - 1} more names differ)"
        )
    for key, tensor in into.items():
        if tensor.shape != source[key].shape:
            raise UserError(f"{path / name}: {key} is {tuple(source[key].shape)}, the model has {tuple(tensor.shape)}")
    with torch.no_grad():
        for key, tensor in into.items():
            fill(tensor, source[key])
