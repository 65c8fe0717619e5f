"""What a corpus is made of: sources, and the files in them."""

import glob
import gzip
import io
import json
import os
import shlex
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from electrain.errors import UserError, reason
from electrain.progress import line

Kind = Literal["file", "line", "lines", "jsonl", "parquet", "hub"]
Documents = Literal["files", "blank-lines", "lines"]
TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst")
JSONL_SUFFIXES = (".jsonl", ".ndjson")
COMPRESSIONS = (".gz", ".zst")
TABLE_SUFFIXES = (".csv", ".tsv")
PACKED_SUFFIXES = (".tar", ".tgz", ".zip", ".bz2", ".xz", ".7z")
LAID_OUT_SUFFIXES = (".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub")
READ = f"{', '.join(TEXT_SUFFIXES + JSONL_SUFFIXES)} (also {', '.join(COMPRESSIONS)}) and .parquet"
HUB = "hub:"
BUILTIN = "builtin"


@runtime_checkable
class ByteStream(Protocol):
    """What is used here of a binary file, plain or compressed."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...
    def __enter__(self) -> "ByteStream": ...
    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> Any: ...


@dataclass(frozen=True)
class Layout:
    """How documents lie in their files.

    text_column: column (parquet, Hub) or key (jsonl) that holds the text
    documents:   what a document is in a plain text file: the whole file, what lies between blank lines, or each line
    hub_config:  name of the Hub data set's configuration, "" for its default
    hub_split:   split of the Hub data set to read
    """

    text_column: str = "text"
    documents: Documents = "files"
    hub_config: str = ""
    hub_split: str = "train"


@dataclass(frozen=True)
class File:
    """One file of a source, or the whole of a Hub data set.

    kind:    of plain text, what a document is in it: the file, a line, or the lines between two blank ones
    size:    in bytes
    changed: in nanoseconds since 1970
    """

    kind: Kind
    path: str
    size: int
    changed: int = 0


def list_files(source: str, layout: Layout) -> tuple[File, ...]:
    """The files of a source (a file, folder, glob or Hub data set), sorted by path; UserError if there are none.

    Says which files of a folder are left out for their endings.
    """
    if source.startswith(HUB):
        return (File("hub", source.removeprefix(HUB), 0),)
    path = Path(source).expanduser()
    if path.is_dir():
        there = _walk(path)
        found = [file for file in there if _kind(file, layout, named=False)]
        if not found:
            raise UserError(f"{source}: no text in this folder; files ending in {READ} are read")
        if len(found) < len(there):
            line(_left_out(source, sorted({*there} - {*found})))
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


def parsed(text: str) -> Any:
    """JSON. ValueError, also for half a character (an escape such as \\ud800), which no file can be written with."""
    found = json.loads(text)
    if "\\u" in text:
        json.dumps(found, ensure_ascii=False).encode()
    return found


def open_hub(name: str, layout: Layout) -> Any:
    """A Hub data set (or a folder that `datasets` knows how to read), streamed. UserError if there is no such one."""
    import datasets

    try:
        return datasets.load_dataset(name, layout.hub_config or None, split=layout.hub_split, streaming=True)
    except Exception as error:  # the library raises many kinds, down to plain HTTP errors; each means: not readable
        raise UserError(
            f"{name}: neither a file or folder here nor a readable Hub data set ({reason(error)}); "
            "check the name, --hub-config and --hub-split"
        ) from error


def no_column(where: str, column: str, there: Sequence[str]) -> UserError:
    """The error that names the columns there are."""
    return UserError(
        f"{where}: no column {column!r}; there are: {', '.join(there) or 'none'}. Choose with --text-column"
    )


def as_parquet(path: str) -> str:
    """The command that makes a .parquet of a table in CSV, TSV or a JSON array, beside it."""
    table, made = (json.dumps(name, ensure_ascii=False) for name in (path, f"{path}.parquet"))
    read = {".csv": f"csv({table})", ".tsv": f'csv({table}, sep="\\t")'}.get(_ending(path), f"json({table})")
    return shlex.join(["python", "-c", f"from datasets import Dataset; Dataset.from_{read}.to_parquet({made})"])


def _kind(path: str, layout: Layout, *, named: bool) -> Kind | None:
    """How to read a file; a file that was named (not just found in a folder) and has no known ending is plain text.

    UserError for a named one whose ending says that it is something else.
    """
    ending = _ending(path)
    if path.lower().endswith(".parquet"):
        return "parquet"
    if ending in JSONL_SUFFIXES or (named and ending == ".json"):
        return "jsonl"
    if named and ending in TABLE_SUFFIXES:
        raise UserError(f"{path}: {ending} is not read; make a .parquet of it: {as_parquet(path)}")
    if named and ending in PACKED_SUFFIXES:
        raise UserError(f"{path}: {ending} is not read; unpack it and name what was in it")
    if named and ending in LAID_OUT_SUFFIXES:
        raise UserError(f"{path}: {ending} is not read; convert it to plain text (.txt) and name that")
    if named or ending in TEXT_SUFFIXES:
        kinds: dict[Documents, Kind] = {"files": "file", "blank-lines": "lines", "lines": "line"}
        return kinds[layout.documents]
    return None


def _ending(path: str) -> str:
    """The ending before that of a compression, in small letters; "" if there is none."""
    name = path.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return Path(name).suffix


def _left_out(source: str, files: Sequence[str]) -> str:
    """How many files of a folder are not read, by ending, in one line."""
    endings = Counter(_ending(file) or "without an ending" for file in files).most_common()
    told = [f"{count:,} {ending}" for ending, count in endings[:5]]
    if len(endings) > len(told):
        told.append(f"{sum(count for _, count in endings[5:]):,} others")
    return f"{source}: {len(files):,} files are not read: {', '.join(told)} (one is {files[0]}); {READ} are"


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
