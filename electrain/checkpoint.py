"""Weights, optimizer and step: whole or not at all.

A checkpoint is a folder `step-000100` with model.safetensors, optimizer.safetensors, state.json and checksums.json. It
is written under another name, synced, and renamed; a reader checks every SHA-256 before it believes a byte.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from electrain.errors import UserError
from electrain.files import sync, write

FOLDER = "checkpoints"


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, under the first of its names: sharing is the model's business."""
    found = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in found.items()}


def save(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Path:
    """Write RUN/checkpoints/step-N. UserError if the disk will not take it; earlier checkpoints are untouched."""
    folder = run / FOLDER
    final = folder / f"step-{step:06d}"
    beside = folder / f".writing-{step:06d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        save_file({k: v.contiguous() for k, v in weights(model).items()}, beside / "model.safetensors")
        save_file(_optimizer_state(model, optimizer), beside / "optimizer.safetensors")
        write(beside / "state.json", json.dumps({"step": step, **state}).encode())
        sums = {path.name: _sha256(path) for path in sorted(beside.iterdir())}
        for name in sums:
            sync(beside / name)
        write(beside / "checksums.json", json.dumps(sums, indent=1).encode())
        if final.exists():  # of this very step, found damaged when the run was gone on with
            shutil.rmtree(final)
        beside.rename(final)
        sync(folder)
        if best := state.get("best"):
            write(folder / "best.json", json.dumps(best).encode())
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{final}: the checkpoint cannot be written ({reason}); earlier ones are untouched") from error
    return final


def listed(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    found = {int(path.name[5:]): path for path in (run / FOLDER).glob("step-*") if path.name[5:].isdigit()}
    return [found[step] for step in sorted(found)]


def latest(run: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint, or None; damaged ones are named to `warn` and passed over."""
    for path in reversed(listed(run)):
        if reason := damage(path):
            warn(f"{path}: damaged ({reason}); the checkpoint before it is used")
        else:
            return path
    return None


def best(run: Path, warn: Callable[[str], None]) -> Path | None:
    """The checkpoint with the lowest held-out loss, or the latest where none is marked or it is damaged."""
    try:
        path = run / FOLDER / json.loads((run / FOLDER / "best.json").read_text())["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):
        return latest(run, warn)
    if reason := damage(path):
        warn(f"{path}: damaged ({reason}); the latest checkpoint is used instead of the best")
        return latest(run, warn)
    return path


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = json.loads((path / "checksums.json").read_text())
        for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
            if name not in sums:
                return f"checksums.json does not list {name}"
            if _sha256(path / name) != sums[name]:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, TypeError) as error:
        return str(error)
    return None


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a checkpoint's model.safetensors. UserError if names or shapes differ."""
    _fill(weights(model), load_file(path / "model.safetensors"), path / "model.safetensors")


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Fill a model and its optimizer from a checkpoint; returns the state saved with them, the step among it."""
    load_weights(model, path)
    _fill(_optimizer_state(model, optimizer), load_file(path / "optimizer.safetensors"), path / "optimizer.safetensors")
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
    for path in [*(run / FOLDER).glob(".*"), *(path for path in listed(run) if int(path.name[5:]) > step)]:
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


def _fill(into: dict[str, Tensor], source: dict[str, Tensor], path: Path) -> None:
    if missing := sorted(into.keys() ^ source.keys()):
        raise UserError(f"{path}: does not fit the model ({missing[0]} and {len(missing) - 1} more names differ)")
    for name, tensor in into.items():
        if tensor.shape != source[name].shape:
            raise UserError(f"{path}: {name} is {tuple(source[name].shape)}, the model has {tuple(tensor.shape)}")
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(source[name])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
