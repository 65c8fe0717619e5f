"""Packings: which tokens row i holds, a pure function of (shards, length, packing); any row can be asked for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from electrain.data.order import mix
from electrain.data.shards import Shards
from electrain.errors import UserError

_BLOCK = 128  # documents that share one entry of the coarse index of Pairs: all of them are looked at for a row


class Rows(NamedTuple):
    """Rows as they stand in the corpus; the fields are those of `electrain.batch.Batch`, in numpy."""

    ids: Int64[np.ndarray, "n t"]
    segments: Int64[np.ndarray, "n t"]
    real: Bool[np.ndarray, "n t"]


class Packing(ABC):
    """Cuts a split into `rows` rows of `length` tokens, [CLS] and [SEP] counted."""

    @dataclass(frozen=True)
    class Config(ABC):
        """What a person chose of the packing; saved in run.json."""

        @property
        def apart(self) -> bool:
            """Whether `segments` say which document of its row a place belongs to."""
            return False

        @abstractmethod
        def build(self, shards: Shards, length: int) -> "Packing":
            """The packing of a split. UserError if the length is too small, or the split too small for one row."""

    config: Config
    shards: Shards
    rows: int
    length: int

    @abstractmethod
    def take(self, rows: Int64[np.ndarray, " n"]) -> Rows:
        """The rows of these numbers. IndexError if one is not in 0 .. self.rows - 1."""

    def _check(self, rows: Int64[np.ndarray, " n"]) -> None:
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= self.rows):
            raise IndexError(f"a row lies outside the {self.rows} there are")


@final
class Full(Packing):
    """Documents run on, separated by [SEP], without padding.

    Row i is [CLS], the tokens i * (t - 2) to (i + 1) * (t - 2), [SEP]; the last, incomplete row is dropped.
    """

    @dataclass(frozen=True)
    class Config(Packing.Config):
        """How much of the text around its own document a place gets to see."""

        documents: Literal["together", "apart"] = "together"
        """Whether a row is one text, or its documents are numbered, for an encoder that keeps them apart."""

        @property
        def apart(self) -> bool:
            return self.documents == "apart"

        def build(self, shards: Shards, length: int) -> "Full":
            return Full(self, shards, length)

    config: Config

    def __init__(self, config: "Full.Config", shards: Shards, length: int) -> None:
        if length < 3:
            raise UserError(f"a row of length {length} has no place for text; choose a length of at least 3")
        self.config, self.shards, self.length = config, shards, length
        self.rows = shards.tokens // (length - 2)
        if not self.rows:
            more = "prepare more text" if shards.split == "train" else "prepare with a larger --validation"
            raise UserError(
                f"{shards.folder}: the {shards.split} split holds {shards.tokens} tokens, but one row of length "
                f"{length} needs {length - 2}; {more}, or choose a shorter length"
            )

    def take(self, rows: Int64[np.ndarray, " n"]) -> Rows:
        self._check(rows)
        shape = (rows.size, self.length)
        ids = np.empty(shape, np.int64)
        ids[:, 0] = self.shards.vocab.cls
        ids[:, 1:-1] = self.shards.gather(rows * (self.length - 2), self.length - 2)
        ids[:, -1] = self.shards.vocab.sep
        segments = np.zeros(shape, np.int64)
        if self.config.apart:  # a document ends with its [SEP]
            np.cumsum(2 * (ids[:, :-1] == self.shards.vocab.sep), axis=1, out=segments[:, 1:])
        return Rows(ids, segments, np.ones(shape, np.bool_))


@final
class Pairs(Packing):
    """Two segments of one document, [CLS] a [SEP] b [SEP], padded: the shape of the original ELECTRA's rows.

    A document of n tokens is cut into ceil(n / (t - 3)) even chunks, a row each. The share `single` of the rows is one
    segment, [CLS] a [SEP]. The share `short` holds only the start of its chunk, cut to what a row of a length uniform
    in 5 .. t has place for. All others are cut in two, uniformly in the middle half of the chunk. The draws are a hash
    of the row's number. A shard repeated 2.5 times gives its rows twice and then the first half of them.

    Source: build_pretraining_dataset.py of google-research/electra, which gathers sentences where this counts tokens,
    and keeps for the next row what a short row leaves; here nobody reads it (2.4 % of the text).
    """

    @dataclass(frozen=True)
    class Config(Packing.Config):
        """single: share of rows with one segment; short: share of rows of a random, shorter length."""

        single: float = 0.1
        short: float = 0.05

        def build(self, shards: Shards, length: int) -> "Pairs":
            return Pairs(self, shards, length)

    config: Config

    def __init__(self, config: "Pairs.Config", shards: Shards, length: int) -> None:
        if length < 5:
            raise UserError(f"a row of length {length} has no place for two segments; choose a length of at least 5")
        for name, share in (("single", config.single), ("short", config.short)):
            if not 0 <= share <= 1:
                raise UserError(f"pairs: the share {name} is {share}; choose one from 0 to 1")
        self.config, self.shards, self.length = config, shards, length
        self.room = length - 3
        counts = [self._count(number) for number in range(len(shards.shards))]
        # Rows before each block of documents, all shards one after the other: 8 bytes for 128 documents.
        self._before = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
        self._once = np.array([count.sum() for count in counts], np.int64)
        self._first_block = np.cumsum([0, *(count.size for count in counts)])
        repeats = [shard.repeat for shard in shards.shards]
        self._epoch = np.array([round(r * int(n)) for r, n in zip(repeats, self._once, strict=True)], np.int64)
        self._ends = np.cumsum(self._epoch)
        self.rows = int(self._ends[-1]) if counts else 0
        if not self.rows:
            raise UserError(
                f"{shards.folder}: the {shards.split} split holds {shards.tokens} tokens, but no document with text "
                "in it, and a row needs one; prepare more text"
            )

    def _count(self, number: int) -> Int64[np.ndarray, " blocks"]:
        """Rows of each block of a shard's documents, in one pass over its index."""
        shard, ends = self.shards.shards[number], self.shards.ends(number)
        counts = [np.zeros(0, np.int64)]
        last = 0
        for start in range(0, ends.size, _BLOCK * 2048):
            piece = np.diff(ends[start : start + _BLOCK * 2048], prepend=last)
            last += int(piece.sum())
            if int(piece.min()) < 0:
                raise self._damaged(number, "its document ends do not ascend")
            chunks = self._chunks(piece)
            counts.append(np.add.reduceat(chunks, np.arange(0, piece.size, _BLOCK)))
        if last != shard.tokens:
            raise self._damaged(number, f"its last document ends at token {last} of {shard.tokens}")
        return np.concatenate(counts)

    def _damaged(self, number: int, how: str) -> UserError:
        path = self.shards.folder / self.shards.shards[number].index
        return UserError(f"{path}: damaged, {how}; copy it again, or run electrain prepare again")

    def _chunks(self, tokens: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
        """Rows of documents of so many tokens, their closing [SEP] counted in: ceil((tokens - 1) / room), or 0."""
        return (tokens + (self.room - 2)) // self.room

    def take(self, rows: Int64[np.ndarray, " n"]) -> Rows:
        self._check(rows)
        which = np.searchsorted(self._ends, rows, side="right")
        inside = (rows - (self._ends - self._epoch)[which]) % self._once[which]
        start, count = self._place(which, inside)

        target = 5 + (_draw(rows, 1) * (self.length - 4)).astype(np.int64)
        count = np.where(_draw(rows, 0) < self.config.short, np.minimum(count, target - 3), count)
        least = np.maximum(1, count // 4)
        first = least + (_draw(rows, 3) * (count - 2 * least + 1)).astype(np.int64)
        first = np.where((_draw(rows, 2) < self.config.single) | (count < 2), count, first)[:, None]
        second = count[:, None] - first
        end = first + 2 + np.where(second > 0, second + 1, 0)

        place = np.arange(self.length)
        text = ((place > 0) & (place <= first)) | ((place > first + 1) & (place < end - 1))
        source = start[:, None] + place - 1 - (place > first)
        vocab = self.shards.vocab
        ids = np.full((rows.size, self.length), vocab.sep)
        ids[:, 0] = vocab.cls
        for number in np.unique(which):
            here = text & (which == number)[:, None]
            ids[here] = self.shards.take(int(number), source[here])
        real = place < end
        ids[~real] = vocab.pad
        return Rows(ids, ((place > first + 1) & real).astype(np.int64), real)

    def _place(
        self, which: Int64[np.ndarray, " n"], inside: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Where in its file each row of these shards starts, and how many tokens it has."""
        row = inside + self._before[self._first_block[which]]
        block = np.searchsorted(self._before, row, side="right") - 1
        document = (block - self._first_block[which]) * _BLOCK
        near = document[:, None] + np.arange(-1, _BLOCK)
        ends = np.empty(near.shape, np.int64)
        for number in np.unique(which):
            here = np.flatnonzero(which == number)
            there = self.shards.ends(int(number))
            ends[here] = there[near[here].clip(0, there.size - 1)]  # beyond the last document: empty ones
        ends[document == 0, 0] = 0
        chunks = self._chunks(np.diff(ends))
        upto = chunks.cumsum(1)
        row = row - self._before[block]
        at = np.arange(row.size), (upto <= row[:, None]).sum(1)
        origin, text, parts = ends[at], ends[at[0], at[1] + 1] - ends[at] - 1, chunks[at]
        part = row - upto[at] + parts
        low, high = part * text // parts, (part + 1) * text // parts
        return origin + low, high - low


def _draw(rows: Int64[np.ndarray, " n"], which: int) -> Float64[np.ndarray, " n"]:
    """Uniform in [0, 1), independent for every row and every one of the four draws."""
    state: UInt64[np.ndarray, " n"] = mix(rows.astype(np.uint64) * np.uint64(4) + np.uint64(which + 1))
    return (mix(state ^ np.uint64(0x5851F42D4C957F2D)) >> np.uint64(11)) * 2.0**-53
