"""The token files of one split, read memory-mapped as a single run of tokens, repetition counted in."""

import mmap
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped, UInt32

from electrain.data import blocks
from electrain.data.folder import check_finished
from electrain.data.manifest import TOKENIZER, Manifest, Shard
from electrain.errors import UserError
from electrain.files import inside, sha256

_OPEN = 64  # shards mapped at once: each holds up to three descriptors, of which a process may have only 256
# A split of more bytes than this is read without read-ahead, which fetches 128 KB for a row of 250 bytes: on a cold
# file that made rows six times slower. A smaller split is soon in the page cache whole, and read-ahead helps it there.
_READ_AHEAD = 1 << 32
_PIECE = 1 << 22  # entries at a time wherever a whole file is walked
_LONG = 1 << 30  # bytes of a split that are not read whole without a word
_REMEDY = "copy it again, or run electrain prepare again"


class _Tokens(NamedTuple):
    """A token file that is mapped; `sums`: of its blocks, None if the manifest does not say what it holds."""

    tokens: Shaped[np.ndarray, " tokens"]
    content: memoryview
    sums: UInt32[np.ndarray, " blocks"] | None


class Shards:
    """A split of a data folder. It holds no tokens: memory is a few numbers a shard, whatever the size of the files.

    No damaged token is handed out: every block that is read is held against its checksum (see blocks.py). A token file
    without checksums, and every index, is read whole and held against the manifest's SHA-256 before its first use.

    manifest:  of the folder
    shards:    of this split, those without tokens left out
    tokens:    tokens of one epoch, repetition counted
    """

    @classmethod
    def open(
        cls, data_dir: str | Path, split: Literal["train", "validation"] = "train", verify: bool = False
    ) -> "Shards":
        """Check every file's size and the tokenizer against the manifest; `verify`: read all, hashes, ids, ends.

        UserError if the manifest or a file is missing, damaged, or of another size, or `prepare` has not finished.
        """
        check_finished(Path(data_dir))
        opened = cls(Path(data_dir), Manifest.load(data_dir), split)
        opened.manifest.check(data_dir, TOKENIZER, opened.manifest.tokenizer_sha256)
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
            inside(folder, shard.file)
            inside(folder, shard.index)
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
        self._index = lru_cache(maxsize=_OPEN)(self._map_index)
        self._sums: dict[int, np.ndarray] = {}  # of files without checksums beside them, where none can be written
        self._sound: set[int] = set()  # shards whose index was found to be whole
        self._told = False

    def gather(self, starts: Int64[np.ndarray, " n"], count: int) -> Shaped[np.ndarray, "n count"]:
        """`count` tokens from each start, in the type on disk; runs on across shards and repetitions.

        IndexError if a run begins before 0 or ends beyond `tokens`; UserError where the file is damaged.
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
            self._check_blocks(int(number), place[rows], place[rows] + count)
            tokens = self._tokens(int(number)).tokens
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
            stop = min(shard.tokens, place + min(out.size - done, end - start - done))
            self._check_blocks(number, np.array([place]), np.array([stop]))
            out[done : done + stop - place] = self._tokens(number).tokens[place:stop]
            done += stop - place

    def take(self, number: int, places: Int64[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
        """The tokens at these places of shard `number`'s file. UserError where it is damaged."""
        # Places come in stretches: one of each stretch inside a block says which block to check.
        some = places[np.flatnonzero(np.diff(places * self.dtype.itemsize // blocks.SIZE, prepend=-1))]
        self._check_blocks(number, some, some + 1)
        return self._tokens(number).tokens[places]

    def ends(self, number: int) -> Int64[np.ndarray, " documents"]:
        """Where each document of shard `number` ends in its file, in tokens, its [SEP] included: memory-mapped."""
        return self._index(number)

    def file_tokens(self, number: int) -> Shaped[np.ndarray, " tokens"]:
        """The tokens of shard `number`'s file, once: memory-mapped, and not checked."""
        return self._tokens(number).tokens

    def _map_tokens(self, number: int) -> _Tokens:
        shard = self.shards[number]
        tokens, content = self._map(shard.file, self.dtype, shard.tokens, ahead=self._bytes <= _READ_AHEAD)
        return _Tokens(tokens, content, self._checksums(number))

    def _checksums(self, number: int) -> UInt32[np.ndarray, " blocks"] | None:
        shard = self.shards[number]
        path, size = self.folder / shard.file, shard.tokens * self.dtype.itemsize
        if not shard.sha256 or number in self._sums:
            return self._sums.get(number)
        try:
            sums = blocks.load(path, shard.sha256, size)
            if sums is not None:
                return sums
            if self._bytes > _LONG and not self._told:
                self._told = True
                many = f"{self._bytes / 1e9:,.0f} GB"
                print(f"{self.folder}: has no checksums of blocks; its {many} are read once to check", file=sys.stderr)
            found, sums = blocks.summed(path)
        except ValueError as error:
            raise UserError(f"{error}; copy both again, or delete {path.name}{blocks.SUFFIX}") from error
        except OSError as error:
            raise UserError(f"{error.filename or path}: cannot be read ({error.strerror}); {_REMEDY}") from error
        if found != shard.sha256:
            raise UserError(f"{path}: damaged, its SHA-256 is not the manifest's; {_REMEDY}")
        try:
            blocks.save(path, found, sums)
        except OSError:  # the data may lie where nothing can be written
            self._sums[number] = sums
        return sums

    def _check_blocks(self, number: int, starts: Int64[np.ndarray, " n"], stops: Int64[np.ndarray, " n"]) -> None:
        """UserError if a block that holds one of these stretches of tokens (none of them empty) is damaged."""
        _, content, sums = self._tokens(number)
        if sums is None or not starts.size:
            return
        first, last = starts * self.dtype.itemsize // blocks.SIZE, (stops * self.dtype.itemsize - 1) // blocks.SIZE
        touched = first[:, None] + np.arange(int((last - first).max()) + 1)
        wrong = blocks.damaged(content, sums, np.unique(np.minimum(touched, last[:, None])))
        if wrong is not None:
            where = f"{wrong * blocks.SIZE:,} to {min((wrong + 1) * blocks.SIZE, len(content)) - 1:,}"
            path = self.folder / self.shards[number].file
            raise UserError(f"{path}: damaged, bytes {where} are not what {path.name}.crc says; {_REMEDY}")

    def _map_index(self, number: int) -> np.ndarray:
        shard = self.shards[number]
        if shard.index_sha256 and number not in self._sound:
            self._check_whole(shard.index, shard.index_sha256)
            self._sound.add(number)
        return self._map(shard.index, np.dtype("<i8"), shard.documents, ahead=True)[0]

    def _map(self, name: str, dtype: np.dtype, count: int, *, ahead: bool) -> tuple[np.ndarray, memoryview]:
        if not count:
            return np.empty(0, dtype), memoryview(b"")
        # Checked again: reading beyond the end of a file that was cut meanwhile ends the process by a signal.
        self._check_size(name, count * dtype.itemsize)
        handle = os.open(f"{self.folder}/{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            mapping = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
            if not ahead and hasattr(mmap, "MADV_RANDOM"):
                mapping.madvise(mmap.MADV_RANDOM)
            return np.frombuffer(mapping, dtype, count), memoryview(mapping)
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
            raise UserError(f"{path}: {what}; {_REMEDY}") from error
        if size != wanted:
            what = "truncated" if size < wanted else "too long"
            raise UserError(f"{path}: {what}, {size:,} bytes where the manifest says {wanted:,}; {_REMEDY}")

    def _check_whole(self, name: str, wanted: str) -> None:
        if sha256(self.folder / name) != wanted:
            raise UserError(f"{self.folder / name}: damaged, its SHA-256 is not the manifest's; {_REMEDY}")

    def _verify(self, shard: Shard) -> None:
        for name, wanted in ((shard.file, shard.sha256), (shard.index, shard.index_sha256)):
            self._check_whole(name, wanted)
        number = self.shards.index(shard)
        tokens = self.file_tokens(number)
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
                raise UserError(f"{self.folder / shard.index}: document ends do not ascend; {_REMEDY}")
            last = int(piece[-1])
            closing = piece[sizes > 0] - 1
            if last <= tokens.size and (tokens[closing] != self.vocab.sep).any():
                raise UserError(f"{self.folder / shard.index}: a document does not end with [SEP]; {_REMEDY}")
        if last != shard.tokens:
            raise UserError(
                f"{self.folder / shard.index}: the last document ends at token {last}, "
                f"but {shard.file} holds {shard.tokens}; {_REMEDY}"
            )
