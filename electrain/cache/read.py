"""Reads proposals beside the text: memory-mapped records, checked against their CRC as they are read."""

import mmap
import os
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Int

from electrain.batch import Reader
from electrain.cache.format import Binding, Manifest, Part, Split, crc, file_name
from electrain.data.examples import Packing
from electrain.errors import UserError
from electrain.files import inside
from electrain.source import Proposals

_OPEN = 96  # files mapped at once: each mapping holds a descriptor
_AGAIN = "copy it again, or make the cache again"


@final
class Cache(Proposals):
    """A finished cache in a folder. `manifest` says what it is bound to."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = Manifest.load(folder)
        bound = self.manifest.binding
        self.slots, self.top, self.checksum = bound.slots, bound.top, self.manifest.checksum

    def reader(self, packing: Packing) -> "Records":
        bound, shards = self.manifest.binding, packing.shards
        wrong = {
            "another tokenizer": bound.tokenizer != shards.manifest.tokenizer_sha256,
            "other data": bound.data != shards.manifest.checksum,
            f"rows of {bound.length} tokens, not {packing.length}": bound.length != packing.length,
            f"the packing {bound.packing}, not {packing.config}": bound.packing != repr(packing.config),
        }
        for what, mismatch in wrong.items():
            if mismatch:
                raise UserError(f"{self.folder}: was made for {what}; name the cache of this run, or make one")
        part = self.manifest.part(shards.split)
        if part is None or part.rows < packing.rows:
            covered = 0 if part is None else part.rows
            raise UserError(
                f"{self.folder}: covers {covered:,} of the {packing.rows:,} rows of the {shards.split} split; "
                "make it without --rows"
            )
        return Records(self.folder, bound, part, shards.split)


@final
class Records(Reader):
    """The records of a split. Selection e mod M of a row is given in epoch e."""

    def __init__(self, folder: Path, binding: Binding, part: Part, split: Split):
        self.folder, self.binding, self.part = folder, binding, part
        self.split: Split = split
        self.seal = binding.seal(split)
        for number in range(len(part.sha256)):
            inside(folder, file_name(split, number))
            self._check_size(number)
        self._file = lru_cache(maxsize=_OPEN)(self._map)

    def take(self, rows: Int[np.ndarray, " b"], epochs: Int[np.ndarray, " b"]) -> tuple[np.ndarray, ...]:
        """Places (b, k) int64, 0 where a slot is empty; ids (b, k, K) int32; log-probabilities (b, k, K) and the two
        log-masses of the tail (b, k, 2), float16. UserError where a record is damaged.
        """
        out = np.empty(rows.size, self.binding.record)
        files, selections = rows // self.part.each, epochs % self.binding.selections
        for place, (number, row, selection) in enumerate(zip(files, rows, selections, strict=True)):
            out[place] = self._file(int(number))[row - number * self.part.each, selection]
            if crc(out[place : place + 1], self.seal, int(row), int(selection)) != out["crc"][place]:
                where = self.folder / file_name(self.split, int(number))
                raise UserError(f"{where}: damaged at row {row}, selection {selection}; {_AGAIN}")
        kinds = (("place", np.int64), ("ids", np.int32), ("logp", np.float16), ("tail", np.float16))
        return tuple(out[name].astype(kind) for name, kind in kinds)

    def _map(self, number: int) -> np.ndarray:
        self._check_size(number)  # again: reading beyond the end of a file that was cut ends the process by a signal
        with open(self.folder / file_name(self.split, number), "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapping.madvise(mmap.MADV_RANDOM)
        records = np.frombuffer(mapping, self.binding.record)
        return records.reshape(self.part.count(number), self.binding.selections)

    def _check_size(self, number: int) -> None:
        path = self.folder / file_name(self.split, number)
        wanted = self.part.count(number) * self.binding.selections * self.binding.record.itemsize
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise UserError(f"{path}: named in the cache but not readable ({error.strerror}); {_AGAIN}") from error
        if size != wanted:
            what = "truncated" if size < wanted else "too long"
            raise UserError(f"{path}: {what}, {size:,} bytes where cache.json says {wanted:,}; {_AGAIN}")
