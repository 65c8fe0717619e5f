"""Files that are whole or not there: written beside, synced, renamed."""

import contextlib
import hashlib
import os
from pathlib import Path

from electrain.errors import UserError


def replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part. OSError if it fails."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # a disk that takes nothing does not give anything up either
            beside.unlink()
        raise


def write(path: Path, content: bytes) -> None:
    """The same, and its name is synced too. UserError if it fails."""
    try:
        replace(path, content)
        sync(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); what was there is unchanged") from error


def inside(folder: Path, name: str) -> Path:
    """The file of a folder that a file in it names. UserError if it lies elsewhere, by its name or by a link."""
    path = folder / name
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, NUL in it, links in a circle
        within = False
    if not within:
        raise UserError(f"{path}: lies outside of {folder}, which names it; copy it there, or link the whole folder")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk. Nothing where a folder cannot be opened: its names are then as durable as
    the system makes them.
    """
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
