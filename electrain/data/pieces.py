"""Pieces of a corpus that a task can read by itself, and their grouping into tasks.

Both depend on the files alone, never on the number of workers: the token files come out the same on any machine.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from electrain.data.corpus import (
    COMPRESSIONS,
    ByteStream,
    File,
    Kind,
    Layout,
    as_parquet,
    damage,
    no_column,
    open_file,
    open_hub,
)
from electrain.errors import UserError

HUB_SHARD_BYTES = 64_000_000  # a guess, for the progress bar and the grouping only
TASKS = 64  # aimed at: enough for a machine's cores, few enough files to map into memory
SMALLEST_TASK, LARGEST_TASK = 4_000_000, 1_000_000_000
LINE_PART = 1 << 20  # bytes of a line that are read at once


@dataclass(frozen=True)
class Piece:
    """A stretch of a file that is read by itself.

    source:      position of the source on the command line
    start, stop: bytes (file, line, lines, jsonl; a compressed file is one piece), row groups (parquet), or shard number
                 and number of shards (hub)
    size:        bytes that it stands for in the progress bar
    """

    source: int
    kind: Kind
    path: str
    start: int
    stop: int
    size: int


def cut(files: Sequence[Sequence[File]], layout: Layout) -> tuple[tuple[Piece, ...], ...]:
    """Tasks: for each, the pieces it reads, all of one source. `files[i]` are those of the i-th source.

    Checks that the text column is there. UserError names the columns that are, where it is not.
    """
    total = sum(file.size for group in files for file in group)
    target = min(max(total // TASKS, SMALLEST_TASK), LARGEST_TASK)
    tasks: list[tuple[Piece, ...]] = []
    for source, group in enumerate(files):
        waiting: list[Piece] = []
        for piece in (piece for file in group for piece in _pieces(source, file, layout, target)):
            if waiting and sum(p.size for p in waiting) + piece.size > target * 1.25:
                tasks.append(tuple(waiting))
                waiting = []
            waiting.append(piece)
        if waiting:
            tasks.append(tuple(waiting))
    return tuple(tasks)


def _pieces(source: int, file: File, layout: Layout, target: int) -> Iterator[Piece]:
    compressed = file.path.endswith(COMPRESSIONS)
    if file.kind == "hub":
        shards = _hub_shards(file.path, layout)
        for shard in range(shards):
            yield Piece(source, "hub", file.path, shard, shards, HUB_SHARD_BYTES)
    elif file.size == 0:
        return
    elif file.kind == "parquet":
        yield from _row_groups(source, file, layout, target)
    else:
        if file.kind == "jsonl":
            _check_first_record(file.path, layout.text_column)
        if file.kind == "file" or compressed or file.size <= target * 1.25:
            yield Piece(source, file.kind, file.path, 0, file.size, file.size)
            return
        start = 0
        while start < file.size:
            stop = _document_start(file.path, start + target, file.size, blank_line=file.kind == "lines")
            yield Piece(source, file.kind, file.path, start, stop, stop - start)
            start = stop


def _document_start(path: str, at: int, size: int, *, blank_line: bool) -> int:
    """The first byte, at or after `at`, that follows a line end (or a blank line): a document cannot span it."""
    if at >= size:
        return size
    with open(path, "rb") as file:
        file.seek(at)
        _skip_line(file)
        while blank_line and (line := file.readline(LINE_PART)):
            if not line.strip():
                break
            if not line.endswith(b"\n"):
                _skip_line(file)
        return file.tell()


def _skip_line(file: ByteStream) -> None:
    while (line := file.readline(LINE_PART)) and not line.endswith(b"\n"):
        pass


def _row_groups(source: int, file: File, layout: Layout, target: int) -> Iterator[Piece]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file.path)
        schema, meta = parquet.schema_arrow, parquet.metadata
        names = schema.names  # decoded here: a name may be no UTF-8
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file.path}: not a parquet file, or a damaged one; copy it again or leave it out") from error
    with parquet:
        if layout.text_column not in names:
            raise no_column(file.path, layout.text_column, names)
        kind = schema.field(layout.text_column).type
        if not _is_text(kind):
            raise UserError(f"{file.path}: column {layout.text_column!r} holds {kind}, not text; see --text-column")
        leaves = [meta.schema.column(i).path for i in range(meta.num_columns)]
        column = leaves.index(layout.text_column)
        sizes = [meta.row_group(g).column(column).total_uncompressed_size for g in range(meta.num_row_groups)]
    start = 0
    while start < len(sizes):
        stop, size = start + 1, sizes[start]
        while stop < len(sizes) and size + sizes[stop] <= target:
            size += sizes[stop]
            stop += 1
        yield Piece(source, "parquet", file.path, start, stop, size)
        start = stop


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _check_first_record(path: str, column: str) -> None:
    try:
        with open_file(path) as file:
            line = file.readline(1 << 24)
        if line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            raise UserError(f"{path}: a JSON array, not a record a line; make a .parquet of it: {as_parquet(path)}")
        record = json.loads(line)
    except (ValueError, RecursionError):  # told, with its place, by the reader
        return
    except damage(path) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again or leave it out") from error
    if isinstance(record, dict) and column not in record:
        raise no_column(path, column, list(record))


def _hub_shards(name: str, layout: Layout) -> int:
    dataset = open_hub(name, layout)
    first = next(iter(dataset), None)
    if first is None:
        raise UserError(f"{name}: split {layout.hub_split!r} of the data set is empty; choose with --hub-split")
    if layout.text_column not in first:
        raise no_column(name, layout.text_column, list(first))
    return max(dataset.num_shards, 1)
