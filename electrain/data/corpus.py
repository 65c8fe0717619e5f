"""What a corpus is made of: sources, the files in them, and the pieces that a task can read by itself.

The pieces and their grouping into tasks depend on the files alone, never on the number of workers, so that the token
files come out the same on any machine.
"""

import glob
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from electrain.errors import UserError

Kind = Literal["file", "lines", "jsonl", "parquet", "hub"]
TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst")
JSONL_SUFFIXES = (".jsonl", ".ndjson")
COMPRESSIONS = (".gz", ".zst")
HUB = "hub:"
BUILTIN = "builtin"
HUB_SHARD_BYTES = 64_000_000  # a guess, for the progress bar and the grouping only
TASKS = 64  # aimed at: enough for a machine's cores, few enough files to map into memory
_PART = 1 << 20  # bytes of a line that are read at once
SMALLEST_TASK, LARGEST_TASK = 4_000_000, 1_000_000_000


@runtime_checkable
class ByteStream(Protocol):
    """What is used here of a binary file, plain or compressed."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...
    def __enter__(self) -> "ByteStream": ...
    def __exit__(self, *error: Any) -> Any: ...


@dataclass(frozen=True)
class Layout:
    """How documents lie in their files.

    text_column: column (parquet, Hub) or key (jsonl) that holds the text
    documents:   what a document is in a plain text file: the whole file, or what lies between blank lines
    hub_config:  name of the Hub data set's configuration, "" for its default
    hub_split:   split of the Hub data set to read
    """

    text_column: str = "text"
    documents: Literal["files", "blank-lines"] = "files"
    hub_config: str = ""
    hub_split: str = "train"


@dataclass(frozen=True)
class File:
    """One file of a source, or the whole of a Hub data set. `size` in bytes, `changed` in nanoseconds since 1970."""

    kind: Kind
    path: str
    size: int
    changed: int = 0


@dataclass(frozen=True)
class Piece:
    """A stretch of a file that is read by itself.

    source:      position of the source on the command line
    start, stop: bytes (file, lines, jsonl; a compressed file is one piece), row groups (parquet), or shard number and
                 number of shards (hub)
    size:        bytes that it stands for in the progress bar
    """

    source: int
    kind: Kind
    path: str
    start: int
    stop: int
    size: int


def list_files(source: str, layout: Layout) -> tuple[File, ...]:
    """The files of a source (a file, folder, glob or Hub data set), sorted by path; UserError if there are none."""
    if source.startswith(HUB):
        return (File("hub", source.removeprefix(HUB), 0),)
    path = Path(source).expanduser()
    if path.is_dir():
        found = [file for file in _walk(path) if _kind(file, layout, named=False)]
        if not found:
            raise UserError(
                f"{source}: no text in this folder; files ending in {', '.join(TEXT_SUFFIXES + JSONL_SUFFIXES)} "
                "(also .gz, .zst) or .parquet are read"
            )
    elif path.exists():
        found = [str(path)]
        if path.stat().st_size == 0:
            raise UserError(f"{source}: the file is empty; leave it out of --corpus")
    elif glob.has_magic(source):
        found = sorted(file for file in glob.glob(str(path), recursive=True) if os.path.isfile(file))
        if not found:
            raise UserError(f"{source}: no file matches; check the pattern and the folder {os.getcwd()}")
    elif _may_be_hub_name(source):
        return (File("hub", source, 0),)
    else:
        raise UserError(f"{source}: no such file or folder; check the path given to --corpus")
    files = []
    for name in found:
        kind = _kind(name, layout, named=True)
        try:
            state = os.stat(name)
            with open(name, "rb"):
                pass  # readable at all: better known now than in the last task
        except OSError as error:
            raise UserError(f"{name}: cannot be read ({error.strerror}); mend it or leave it out") from error
        if kind is not None:
            files.append(File(kind, name, state.st_size, state.st_mtime_ns))
    if all(file.size == 0 for file in files):
        raise UserError(f"{source}: all of its files are empty; leave it out of --corpus")
    return tuple(files)


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


def open_file(path: str) -> ByteStream:
    """A file opened for reading bytes, decompressed where its name ends in .gz or .zst."""
    if path.endswith(".gz"):
        return gzip.open(path, "rb")
    if path.endswith(".zst"):
        import zstandard

        return io.BufferedReader(zstandard.open(path, "rb"))  # which reads no lines by itself
    return open(path, "rb")


def damage(path: str) -> tuple[type[Exception], ...]:
    """What reading a file raises if it is damaged."""
    if path.endswith(".zst"):
        import zstandard

        return OSError, EOFError, zstandard.ZstdError
    return OSError, EOFError, zlib.error


def open_hub(name: str, layout: Layout) -> Any:
    """A Hub data set (or a folder that `datasets` knows how to read), streamed. UserError if there is no such one."""
    import datasets

    try:
        return datasets.load_dataset(name, layout.hub_config or None, split=layout.hub_split, streaming=True)
    except Exception as error:  # the library raises many kinds, down to plain HTTP errors; each means: not readable
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{name}: neither a file or folder here nor a readable Hub data set ({reason}); "
            "check the name, --hub-config and --hub-split"
        ) from error


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
        while blank_line and (line := file.readline(_PART)):
            if not line.strip():
                break
            if not line.endswith(b"\n"):
                _skip_line(file)
        return file.tell()


def _skip_line(file: ByteStream) -> None:
    while (line := file.readline(_PART)) and not line.endswith(b"\n"):
        pass


def _row_groups(source: int, file: File, layout: Layout, target: int) -> Iterator[Piece]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file.path)
    except pa.ArrowException as error:
        raise UserError(f"{file.path}: not a parquet file, or a damaged one; copy it again or leave it out") from error
    with parquet:
        schema, meta = parquet.schema_arrow, parquet.metadata
        if layout.text_column not in schema.names:
            raise no_column(file.path, layout.text_column, schema.names)
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


def no_column(where: str, column: str, there: Sequence[str]) -> UserError:
    """The error that names the columns there are."""
    return UserError(
        f"{where}: no column {column!r}; there are: {', '.join(there) or 'none'}. Choose with --text-column"
    )


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _check_first_record(path: str, column: str) -> None:
    try:
        with open_file(path) as file:
            record = json.loads(file.readline(1 << 24))
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


def _kind(path: str, layout: Layout, *, named: bool) -> Kind | None:
    """How to read a file; a file that was named (not just found in a folder) and has no known ending is plain text."""
    name = path.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    if path.lower().endswith(".parquet"):
        return "parquet"
    if name.endswith(JSONL_SUFFIXES):
        return "jsonl"
    if named or name.endswith(TEXT_SUFFIXES):
        return "file" if layout.documents == "files" else "lines"
    return None


def _walk(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _may_be_hub_name(source: str) -> bool:
    """owner/name, with nothing in it that only a path has."""
    parts = source.split("/")
    return len(parts) == 2 and all(parts) and not source.startswith((".", "~")) and not Path(source).suffix
