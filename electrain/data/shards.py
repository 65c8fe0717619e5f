"""The token files of one split, read memory-mapped as a single run of tokens, repetition counted in."""

import hashlib
import mmap
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, Shaped

from electrain.data.manifest import Manifest, Shard
from electrain.errors import UserError

_OPEN = 96  # files mapped at once: each mapping holds a descriptor, of which a process may have only 256
# A split of more bytes than this is read without read-ahead, which fetches 128 KB for a row of 250 bytes: on a cold
# file that made rows six times slower. A smaller split is soon in the page cache whole, and read-ahead helps it there.
_READ_AHEAD = 1 << 32
_PIECE = 1 << 22  # entries at a time wherever a whole file is walked


class Shards:
    """A split of a data folder. It holds no tokens: memory is a few numbers a shard, whatever the size of the files.

    manifest:  of the folder
    shards:    of this split, those without tokens left out
    tokens:    tokens of one epoch, repetition counted
    """

    @classmethod
    def open(
        cls, data_dir: str | Path, split: Literal["train", "validation"] = "train", verify: bool = False
    ) -> "Shards":
        """Check every file's size against the manifest; with `verify`, read all: hashes, ids, document ends.

        UserError if the manifest or a file is missing, damaged, or of another size.
        """
        opened = cls(Path(data_dir), Manifest.load(data_dir), split)
        if verify:
            for shard in opened.shards:
                opened._verify(shard)
        return opened

    def __init__(self, folder: Path, manifest: Manifest, split: Literal["train", "validation"]) -> None:
        self.folder, self.manifest = folder, manifest
        self.split: Literal["train", "validation"] = split
        self.vocab = manifest.vocab
        self.dtype = manifest.token_type
        listed = manifest.train if split == "train" else manifest.validation
        for shard in listed:
            self._check_size(shard.file, shard.tokens * self.dtype.itemsize)
            self._check_size(shard.index, shard.documents * 8)
        self.shards: tuple[Shard, ...] = tuple(shard for shard in listed if shard.span)
        self._spans = np.array([shard.span for shard in self.shards], np.int64)
        self._ends = np.cumsum(self._spans)
        self._sizes = np.array([shard.tokens for shard in self.shards], np.int64)
        self.tokens = int(self._ends[-1]) if self.shards else 0
        self._bytes = int(self._sizes.sum()) * self.dtype.itemsize
        # One cache an instance: a folder that was prepared again must never be read through an old mapping.
        self._tokens = lru_cache(maxsize=_OPEN)(self._map_tokens)
        self._index = lru_cache(maxsize=_OPEN * 3 // 4)(self._map_index)

    def gather(self, starts: Int64[np.ndarray, " n"], count: int) -> Shaped[np.ndarray, "n count"]:
        """`count` tokens from each start, in the type on disk; runs on across shards and repetitions.

        IndexError if a run begins before 0 or ends beyond `tokens`.
        """
        if starts.size and (int(starts.min()) < 0 or int(starts.max()) + count > self.tokens):
            raise IndexError(f"a run of {count} tokens lies outside the {self.tokens} of the {self.split} split")
        out = np.empty((starts.size, count), self.dtype)
        if not count:
            return out
        which = np.searchsorted(self._ends, starts, side="right")
        place = (starts - (self._ends - self._spans)[which]) % self._sizes[which]
        room = np.minimum(self._sizes[which] - place, self._ends[which] - starts)
        whole = room >= count
        for number in np.unique(which[whole]):
            rows = np.flatnonzero(whole & (which == number))
            # A view of every run of the file: indexing it copies one stretch of memory a row, and lets go of Python's
            # lock, so that a wait for the disk does not hold up the training thread.
            tokens = self._tokens(int(number))
            runs = np.ndarray((tokens.size - count + 1, count), self.dtype, tokens, strides=tokens.strides * 2)
            out[rows] = runs[place[rows]]
        for row in np.flatnonzero(~whole):
            self._gather_across(int(starts[row]), out[row])
        return out

    def _gather_across(self, start: int, out: Shaped[np.ndarray, " count"]) -> None:
        done = 0
        while done < out.size:
            number = int(np.searchsorted(self._ends, start + done, side="right"))
            shard, end = self.shards[number], int(self._ends[number])
            place = (start + done - (end - shard.span)) % shard.tokens
            piece = self._tokens(number)[place : min(shard.tokens, place + min(out.size - done, end - start - done))]
            out[done : done + piece.size] = piece
            done += piece.size

    def ends(self, number: int) -> Int64[np.ndarray, " documents"]:
        """Where each document of shard `number` ends in its file, in tokens, its [SEP] included: memory-mapped."""
        return self._index(number)

    def file_tokens(self, number: int) -> Shaped[np.ndarray, " tokens"]:
        """The tokens of shard `number`'s file, once: memory-mapped."""
        return self._tokens(number)

    def _map_tokens(self, number: int) -> np.ndarray:
        shard = self.shards[number]
        return self._map(shard.file, self.dtype, shard.tokens, ahead=self._bytes <= _READ_AHEAD)

    def _map_index(self, number: int) -> np.ndarray:
        shard = self.shards[number]
        return self._map(shard.index, np.dtype("<i8"), shard.documents, ahead=True)

    def _map(self, name: str, dtype: np.dtype, count: int, *, ahead: bool) -> np.ndarray:
        if not count:
            return np.empty(0, dtype)
        # Checked again: reading beyond the end of a file that was cut meanwhile ends the process by a signal.
        self._check_size(name, count * dtype.itemsize)
        handle = os.open(f"{self.folder}/{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            mapping = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
            if not ahead and hasattr(mmap, "MADV_RANDOM"):
                mapping.madvise(mmap.MADV_RANDOM)
            return np.frombuffer(mapping, dtype, count)
        finally:
            os.close(handle)

    def _check_size(self, name: str, wanted: int) -> None:
        path = (
            f"{self.folder}/{name}"  # a string: this runs whenever a file is mapped, and Path costs more than the call
        )
        try:
            size = os.stat(path).st_size
        except OSError as error:
            what = f"named in the manifest but not readable ({error.strerror})"
            raise UserError(f"{path}: {what}; copy it again, or run electrain prepare again") from error
        if size != wanted:
            what = "truncated" if size < wanted else "too long"
            raise UserError(
                f"{path}: {what}, {size:,} bytes where the manifest says {wanted:,}; "
                "copy it again, or run electrain prepare again"
            )

    def _verify(self, shard: Shard) -> None:
        remedy = "copy it again, or run electrain prepare again"
        for name, wanted in ((shard.file, shard.sha256), (shard.index, shard.index_sha256)):
            with open(self.folder / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                    raise UserError(f"{self.folder / name}: damaged, its SHA-256 is not the manifest's; {remedy}")
        number = self.shards.index(shard)
        tokens = self._tokens(number)
        for start in range(0, tokens.size, _PIECE):
            piece = tokens[start : start + _PIECE]
            if int(piece.max()) >= self.vocab.size:
                place = start + int(piece.argmax())
                raise UserError(
                    f"{self.folder / shard.file}: token id {int(tokens[place])} at token {place}, but the vocabulary "
                    f"has {self.vocab.size}; run electrain prepare again with the tokenizer of this folder"
                )
        last = 0
        ends = self._index(number)
        for start in range(0, ends.size, _PIECE):
            piece = ends[start : start + _PIECE].astype(np.int64)
            sizes = np.diff(piece, prepend=last)
            if int(sizes.min()) < 0:
                raise UserError(f"{self.folder / shard.index}: document ends do not ascend; {remedy}")
            last = int(piece[-1])
            closing = piece[sizes > 0] - 1
            if last <= tokens.size and (tokens[closing] != self.vocab.sep).any():
                raise UserError(f"{self.folder / shard.index}: a document does not end with [SEP]; {remedy}")
        if last != shard.tokens:
            raise UserError(
                f"{self.folder / shard.index}: the last document ends at token {last}, "
                f"but {shard.file} holds {shard.tokens}; {remedy}"
            )
