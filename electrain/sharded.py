"""Checkpoints in parts, a file a process, by torch.distributed.checkpoint in safetensors: no pickle is written or read.

What N processes wrote, any number of them reads, and one process alone.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from electrain.errors import UserError, reason


def write(folder: Path, tensors: dict[str, Tensor], group: dist.ProcessGroup | None) -> Callable[[], None]:
    """Begin to write the parts that this process holds. The tensors are copied before it returns; call what it returns
    to wait until the parts of all processes are on the disk.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    with _quiet():
        done = dcp.async_save(tensors, storage_writer=writer, process_group=group)

    def wait() -> None:
        try:
            done.result()  # pyright: ignore  (a Future, unless a stager is given)
        except (dcp.api.CheckpointException, OSError, RuntimeError) as error:
            raise UserError(reason(error)) from error

    return wait


def read(folder: Path, into: dict[str, Tensor], group: dist.ProcessGroup | None) -> None:
    """Fill tensors, whole ones or parts, from a folder of parts; alone if there is no group.

    UserError if a tensor is missing there or has another shape.
    """
    try:
        with _quiet():
            dcp.load(
                into, storage_reader=HuggingFaceStorageReader(str(folder)), process_group=group, no_dist=group is None
            )
    except (dcp.api.CheckpointException, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: does not fit the model ({reason(error)})") from error


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore")  # of the library, about itself
