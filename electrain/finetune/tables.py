"""Tables: csv, tsv, jsonl and parquet files with a header, read whole into columns."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from electrain.data.corpus import COMPRESSIONS, damage, open_file, parsed
from electrain.errors import UserError, reason

ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True)
class Table:
    """Columns of equal length, in the order of the file.

    file     where it came from, for messages
    columns  values by name: text (all of a csv's are), numbers, lists, None
    lines    the line of the file that each row ends on, where it has lines
    names    names of the classes that a column's integers stand for, where the file says them
    notes    what had to be guessed or was left out
    """

    file: str
    columns: dict[str, list[Any]]
    lines: list[int] | None = None
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def at(self, row: int) -> str:
        """Where a row (from 0) is found by a person: rows are counted from 1, without the header."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.file}, row {row + 1}{line}"

    def rows(self, kept: Sequence[int], *notes: str) -> "Table":
        """The table of some of its rows (from 0), with further notes."""
        columns = {key: [values[row] for row in kept] for key, values in self.columns.items()}
        lines = [self.lines[row] for row in kept] if self.lines else None
        return replace(self, columns=columns, lines=lines, notes=(*self.notes, *notes))


def read_table(
    path: Path,
    *,
    quoting: Literal["auto", "off"] = "auto",
    headless: tuple[str, ...] = (),
    ragged: Literal["error", "skip"] = "error",
) -> Table:
    """Read a file by its ending (`ENDINGS`; all but parquet also with .gz or .zst).

    quoting:  of csv and tsv: by their rules, or every quotation mark is text (GLUE's own files)
    headless: columns of a csv or tsv whose first line is not a header (as many fields, and none of these names)
    ragged:   a line with too few or too many fields is an error, or left out and noted

    A tsv is read with quotation marks as quotes if every line by itself is quoted properly, else they are text.
    UserError for a file that is missing, empty, damaged, not UTF-8, or without columns.
    """
    name = path.name.lower()
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    if name.endswith(".parquet"):
        table = _parquet(path)
    else:
        for ending in COMPRESSIONS:
            name = name.removesuffix(ending)
        text = read_text(path)
        if name.endswith((".jsonl", ".ndjson", ".json")):
            table = _json(path, text)
        elif name.endswith((".csv", ".tsv", ".txt")):
            table = _separated(path, text, name.endswith(".csv"), quoting, headless, ragged)
        else:
            raise UserError(f"{path}: a table ends in {', '.join(ENDINGS)} (also .gz, .zst); rename or convert it")
    if not table.columns or not len(table):
        raise UserError(f"{path}: the table has no rows; give a file with a header and at least one row")
    return table


def read_text(path: Path) -> str:
    """A text file, decompressed by its ending; UserError if it is missing, empty, damaged, or not UTF-8."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    try:
        with open_file(str(path)) as file:
            content = file.read(-1)
    except damage(str(path)) as error:
        raise UserError(f"{path}: cannot be read ({str(error) or type(error).__name__}); mend the file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8; convert the file (iconv -t UTF-8)") from error
    if not text.strip():
        raise UserError(f"{path}: the file is empty; give one with a header and at least one row")
    return text


def read_hub(name: str, config: str | None = None) -> dict[str, Table]:
    """All splits of a Hub data set (or of what else `datasets` loads by that name). UserError if it cannot be had."""
    import datasets

    try:
        found: Any = datasets.load_dataset(name, config)
    except Exception as error:  # the library raises many kinds, down to plain HTTP errors; each means: not readable
        raise UserError(
            f"{name}: neither a folder here nor a readable Hub data set ({reason(error)}); check the name"
        ) from error
    called = f"{name} ({config})" if config else name
    return {
        str(split): Table(f"{called}, {split}", part.to_dict(), names=_names(part.features))
        for split, part in found.items()
    }


def _parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        # As one file: a path is otherwise searched for "key=value" folders, which would become columns.
        read = parquet.ParquetFile(path).read()
        columns = {key: read[key].to_pylist() for key in dict.fromkeys(read.column_names)}
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # ValueError: text that is no UTF-8
        raise UserError(f"{path}: not a readable parquet file ({reason(error)}); mend it") from error
    names = {}
    if b"huggingface" in (read.schema.metadata or {}):
        import datasets

        names = _names(datasets.Features.from_arrow_schema(read.schema))
    return Table(str(path), columns, names=names)


def _names(features: Any) -> dict[str, tuple[str, ...]]:
    """Class names of the columns that hold a class, or a list of classes, a row."""
    inner = {key: getattr(value, "feature", value) for key, value in features.items()}
    return {key: tuple(value.names) for key, value in inner.items() if getattr(value, "names", None)}


def _json(path: Path, text: str) -> Table:
    """A line an object, or one list of objects."""
    if text.lstrip().startswith("["):
        try:
            objects, lines = parsed(text), None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error}); mend the file") from error
    else:
        # Not splitlines(), which would also cut at characters that stand inside a JSON string.
        kept = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        objects, lines = [], [number for number, _ in kept]
        for number, line in kept:
            try:
                objects.append(parsed(line))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not JSON ({error}); mend the line") from error
    for row, item in enumerate(objects):
        if not isinstance(item, dict):
            place = f"line {lines[row]}" if lines else f"row {row + 1}"
            raise UserError(f'{path}, {place}: not a JSON object; write {{"text": ..., "label": ...}}')
    columns = dict.fromkeys(key for item in objects for key in item)
    return Table(str(path), {key: [item.get(key) for item in objects] for key in columns}, lines)


def _separated(path: Path, text: str, comma: bool, quoting: str, headless: tuple[str, ...], ragged: str) -> Table:
    """A csv or tsv."""
    first = text[: text.find("\n")] if "\n" in text else text
    separator = "," if comma else "\t"
    notes = []
    if comma and "," not in first and (other := next((mark for mark in ";\t" if mark in first), "")):
        separator = other
        notes.append(f"{path}: fields are separated by {'semicolons' if other == ';' else 'tabs'}")
    if quoting == "off" or (not comma and not _quoted_lines(text, separator)):
        if quoting == "auto":
            notes.append(f"{path}: quotation marks are read as text, since not every line closes them")
        plain = (line.removesuffix("\r") for line in text.split("\n"))
        fields = [(number, line.split(separator)) for number, line in enumerate(plain, 1) if line]
    else:
        fields = _quoted(path, text, separator)
    header = fields[0][1]
    if headless and len(header) == len(headless) and not {name.strip().lower() for name in header} & set(headless):
        header = list(headless)
    else:
        header = [name.strip() for name in header]
        fields = fields[1:]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UserError(f"{path}: two columns are called {twice!r}; is the first line a header? rename one")
    uneven = [(number, len(values)) for number, values in fields if len(values) != len(header)]
    if uneven:
        number, count = uneven[0]
        said = f"{path}, line {number}: {count} fields where the header has {len(header)}"
        if ragged == "error":
            raise UserError(f"{said}; mend the line, or quote fields that hold the separator")
        notes.append(f"{said}: left out" + (f", and {len(uneven) - 1} more such lines" if len(uneven) > 1 else ""))
        fields = [(number, values) for number, values in fields if len(values) == len(header)]
    columns = zip(*(values for _, values in fields), strict=True) if fields else ([] for _ in header)
    lines = [number for number, _ in fields]
    return Table(str(path), {k: list(v) for k, v in zip(header, columns, strict=True)}, lines, notes=tuple(notes))


def _reader(lines: Iterable[str], separator: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # a whole document is a field like any other
    return csv.reader(lines, delimiter=separator, strict=True)


def _quoted(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    reader = _reader(io.StringIO(text, newline=""), separator)
    fields = []
    try:
        for values in reader:
            if values:
                fields.append((reader.line_num, values))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; mend its quotation marks") from error
    return fields


def _quoted_lines(text: str, separator: str) -> bool:
    """Whether every line, read alone, closes the quotation marks that it opens."""
    if '"' not in text:
        return True
    try:
        for line in text.split("\n"):
            if line[:1] == '"' or f'{separator}"' in line:
                for _ in _reader([line], separator):
                    pass
    except csv.Error:
        return False
    return True
