"""What a cache of proposals holds: fixed-size records in files, and `cache.json`, written last.

    DIR/cache.json  train/00000.rec ...  validation/00000.rec ...

A record is one selection of one row: for each slot its place, the top-K token ids and their log-probabilities (logits
less their log-sum-exp, float16), and two log-masses of the rest, the tail: of its probabilities, and of their square
roots (temperature 2). Place 0, which is [CLS] and never selected, marks a slot that was not filled. Every record ends
with a CRC-32 of what the cache is bound to, its place in the cache and the rest of the record, which a reader checks: a
record of another cache, or of another row, is no less damaged than one with a flipped bit. Every file has a SHA-256 in
cache.json.
"""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from electrain.errors import UserError, reason
from electrain.files import write

NAME = "cache.json"
VERSION = 2
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class Binding:
    """All that decides the content of a cache, record by record.

    data, tokenizer, generator:  SHA-256 of the data's manifest, of its tokenizer and of the generator's weights
    packing:     the packing's configuration as text; `length`: tokens of a row
    vocab:       rows of the token table
    rate:        share of the non-special tokens that is selected; `masked`: of these, what the generator read as [MASK]
    slots:       selected slots of a row
    selections:  selections of each row, each with its own places; `seed`: of all of them
    top:         K, proposals kept of each slot
    rows:        rows covered of each split, the first ones; 0 for all
    """

    data: str
    tokenizer: str
    generator: str
    packing: str
    length: int
    vocab: int
    rate: float
    masked: float
    slots: int
    selections: int
    seed: int
    top: int
    rows: int = 0

    @staticmethod
    def of(tree: dict[str, Any]) -> "Binding":
        """As it was written. ValueError or TypeError if a field is missing, of another type, or out of range."""
        made = Binding(**tree)
        for item in fields(made):
            value = getattr(made, item.name)
            if type(value) is not item.type and not (item.type is float and type(value) is int):
                raise ValueError(f"{item.name} is {type(value).__name__}, not what it must be")
            if item.type is int and not (item.name in ("seed", "rows") or 0 < value < 2**31):
                raise ValueError(f"{item.name} is {value}")
        # Places are 16 bits; a record that fills a GiB is none of ours.
        if not made.slots <= made.length <= 2**16 or made.slots * made.top > 2**26 or made.rows < 0:
            raise ValueError(f"{made.slots} slots of {made.top} proposals in rows of {made.length} tokens")
        return made

    @property
    def record(self) -> np.dtype:
        """One selection of one row."""
        ids = np.dtype("<u2" if self.vocab <= 65536 else "<u4")
        k, top = self.slots, self.top
        parts = [("place", "<u2", (k,)), ("ids", ids, (k, top)), ("logp", "<f2", (k, top)), ("tail", "<f2", (k, 2))]
        return np.dtype([*parts, ("crc", "<u4")])

    def seal(self, split: Split) -> int:
        """What the CRC of every record of a split begins with."""
        return zlib.crc32(f"{json.dumps(asdict(self))} {split}".encode())

    def differences(self, other: "Binding") -> str:
        """The names of the fields in which another differs, for a person; "" if none does."""
        names = [item.name for item in fields(self) if getattr(self, item.name) != getattr(other, item.name)]
        return ", ".join(f"other {name}" for name in names)


@dataclass(frozen=True)
class Part:
    """The files of one split: rows covered, rows a file (all but the last), and each file's SHA-256."""

    rows: int
    each: int
    sha256: tuple[str, ...]

    def count(self, number: int) -> int:
        """Rows of a file."""
        return min(self.each, self.rows - number * self.each)


def crc(record: np.ndarray, seal: int, row: int, selection: int) -> int:
    """CRC-32 of one record in its place, its own field left out."""
    return zlib.crc32(record.tobytes()[:-4], zlib.crc32(b"%d %d" % (row, selection), seal))


def file_name(split: Split, number: int) -> str:
    """Path of a file inside the cache."""
    return f"{split}/{number:05d}.rec"


@dataclass(frozen=True)
class Manifest:
    """cache.json: what the cache is bound to, where the generator lay, and the files of the two splits."""

    binding: Binding
    source: str
    train: Part
    validation: Part | None

    @property
    def checksum(self) -> str:
        """SHA-256 of the contents, that of every file among it; where the generator lay is left out."""
        tree = {**self._tree(), "source": ""}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()

    def part(self, split: Split) -> Part | None:
        """The files of a split, or None."""
        return self.train if split == "train" else self.validation

    def save(self, folder: Path) -> None:
        """Write cache.json, whole or not at all."""
        write(folder / NAME, (json.dumps({**self._tree(), "checksum": self.checksum}, indent=1) + "\n").encode())

    @staticmethod
    def load(folder: Path) -> "Manifest":
        """Read cache.json. UserError if it is missing, unfinished, damaged or of another version."""
        path = folder / NAME
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["version"] != VERSION:
                raise UserError(f"{path}: version {tree['version']}, this electrain reads {VERSION}; make it again")
            found = Manifest(
                Binding.of(tree["binding"]),
                str(tree["source"]),
                _part(tree["train"]),
                _part(tree["validation"]) if tree["validation"] is not None else None,
            )
            if found.checksum != tree["checksum"]:
                raise ValueError("its contents do not agree with its checksum")
        except FileNotFoundError as error:
            unfinished = "not finished: give the same electrain cache command again" if (folder / WORK).is_dir() else ""
            how = unfinished or "no cache; make one with: electrain cache RUN --data DIR --out DIR"
            raise UserError(f"{folder}: {how}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path}: damaged ({reason(error)}); copy it again, or make the cache again") from error
        return found

    def _tree(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}


WORK = ".work"  # of a cache that is being made: settings.json, lock, and what each finished file's SHA-256 is


def _part(tree: Any) -> Part:
    rows, each, sums = tree["rows"], tree["each"], tuple(tree["sha256"])
    if not all(type(number) is int and 0 < number < 2**62 for number in (rows, each)):
        raise ValueError(f"{rows!r} rows, {each!r} a file")
    if len(sums) != -(-rows // each) or not all(isinstance(text, str) for text in sums):
        raise ValueError(f"{len(sums)} files for {rows} rows, {each} a file")
    return Part(rows, each, sums)
