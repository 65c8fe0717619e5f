"""Writes a cache file by file: each beside, synced, renamed, noted; what is there is not made again."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import final

import numpy as np

from electrain.cache.format import NAME, WORK, Binding, Manifest, Part, Split, crc, file_name
from electrain.errors import UserError
from electrain.files import sha256, sync, write
from electrain.lock import locked

_SETTINGS = "settings.json"  # of a cache that is being made


@final
class Writer:
    """The folder of a cache that is being made; the same binding goes on with it."""

    def __init__(self, folder: Path, binding: Binding, each: int):
        self.folder, self.binding, self.each = folder, binding, each

    def there(self, split: Split, number: int, rows: int) -> str | None:
        """The SHA-256 of a finished file of `rows` rows, or None."""
        try:
            digest = json.loads(self._note(split, number).read_text())["sha256"]
            size = (self.folder / file_name(split, number)).stat().st_size
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return str(digest) if size == rows * self.row_bytes else None

    @property
    def row_bytes(self) -> int:
        """Bytes of all selections of a row."""
        return self.binding.selections * self.binding.record.itemsize

    def put(self, split: Split, number: int, records: np.ndarray) -> str:
        """Write a file from records (rows, selections), whose `crc` is filled in here; returns its SHA-256."""
        seal = self.binding.seal(split)
        for row, selections in enumerate(records, start=number * self.each):
            for selection in range(self.binding.selections):
                record = selections[selection : selection + 1]
                record["crc"] = crc(record, seal, row, selection)
        content = records.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / file_name(split, number)
        path.parent.mkdir(exist_ok=True)
        write(path, content)
        write(self._note(split, number), json.dumps({"sha256": digest}).encode())
        return digest

    def finish(self, source: str, parts: dict[Split, Part]) -> Manifest:
        """Write cache.json and remove what was only needed on the way."""
        manifest = Manifest(self.binding, source, parts["train"], parts.get("validation"))
        manifest.save(self.folder)
        shutil.rmtree(self.folder / WORK)
        return manifest

    def _note(self, split: Split, number: int) -> Path:
        return self.folder / WORK / f"{split}-{number:05d}.json"


def check(folder: Path) -> None:
    """UserError if a folder holds other files than a cache, or cannot be written to. Nothing is written."""
    if (folder / NAME).exists():
        return
    begun = (folder / WORK / _SETTINGS).exists()
    if folder.exists() and not begun and (not folder.is_dir() or any(path.name != WORK for path in folder.iterdir())):
        raise UserError(f"--out {folder}: holds other files; choose an empty or a new folder")
    there = _there(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {folder}: {there} cannot be written to; choose another --out")


def finished(folder: Path, binding: Binding, each: int) -> bool:
    """Whether this very cache is finished there; False if it can be begun or gone on with. Nothing is written.

    folder: `check` has looked at it
    UserError if it holds another cache.
    """
    if (folder / NAME).exists():
        manifest = Manifest.load(folder)
        if other := manifest.binding.differences(binding):
            raise UserError(f"--out {folder}: holds a cache made otherwise ({other}); choose another --out")
        return True
    settings = folder / WORK / _SETTINGS
    if settings.exists():
        try:
            tree = json.loads(settings.read_text())
            other = Binding.of(tree["binding"]).differences(binding) or ("other shard rows" * (tree["each"] != each))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            other = "unreadable settings"
        if other:
            raise UserError(
                f"--out {folder}: holds an unfinished cache of another kind ({other}); choose another --out, or "
                "delete it"
            )
    return False


@contextmanager
def writing(folder: Path, binding: Binding, each: int) -> Iterator[Writer]:
    """A writer for a folder that `finished` has looked at, which no other process writes to meanwhile."""
    work = folder / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made ({error.strerror}); choose another --out") from error
    with locked(folder, "cache", f"{WORK}/lock"):
        if (folder / NAME).exists():
            shutil.rmtree(work)
            raise UserError(f"--out {folder}: another cache has just finished there; give the same command again")
        write(work / _SETTINGS, json.dumps({"binding": asdict(binding), "each": each}).encode())
        for stale in folder.glob("*/.*.rec.*"):  # what a kill left half-written
            stale.unlink()
        sync(folder)
        yield Writer(folder, binding, each)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file against its SHA-256. UserError names the first that is damaged."""
    splits: tuple[Split, ...] = ("train", "validation")
    for split in splits:
        part = manifest.part(split)
        for number, wanted in enumerate(part.sha256 if part else ()):
            path = folder / file_name(split, number)
            try:
                found = sha256(path)
            except OSError as error:
                raise UserError(f"{path}: not readable ({error.strerror}); copy it again") from error
            if found != wanted:
                raise UserError(
                    f"{path}: damaged, its SHA-256 is not that of cache.json; copy it again, or make the cache again"
                )


def free(folder: Path) -> int:
    """Free bytes of the disk that a folder lies, or would lie, on."""
    found = os.statvfs(_there(folder))
    return found.f_bavail * found.f_frsize


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.absolute().parent
    return folder
