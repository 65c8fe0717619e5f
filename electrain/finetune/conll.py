"""Sentences with a tag a word: CoNLL's columns, or tables with lists; and predictions in columns again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electrain import files
from electrain.errors import UserError
from electrain.finetune.columns import among, missing, named
from electrain.finetune.tables import Table, read_text

ENDINGS = (".conll", ".iob", ".iob2", ".bio", ".txt", ".tsv", "")  # or none: eng.testa
WORDS = ("tokens", "words", "text", "sentence")
TAGS = ("tags", "nertags", "labels", "ner", "chunktags", "postags", "label")
DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Sentences:
    """Words and tags of every sentence; `tags` is None where there are none.

    file    where they came from
    places  where each sentence begins, for messages
    notes   what had to be guessed
    """

    file: str
    words: list[list[str]]
    tags: list[list[str]] | None
    places: list[str]
    notes: tuple[str, ...] = ()


def read_conll(path: Path, column: int | None = None) -> Sentences:
    """Sentences between blank lines, a word a line: the word in the first column, its tag in another.

    column: the tag's, counted from 1; the last where nothing is said
    Columns are separated by tabs if the first line has one, else by spaces. Lines that start with -DOCSTART- are left
    out. A file of one column has no tags. UserError for a line with fewer columns, and for a file without words.
    """
    lines = read_text(path).split("\n")
    tab = "\t" in next(line for line in lines if line.strip())
    words: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    places: list[str] = []
    width = 0
    for number, line in enumerate(lines, 1):
        fields = [field.strip() for field in line.split("\t")] if tab else line.split()
        if not line.strip():
            if words[-1]:
                words.append([])
                tags.append([])
            continue
        if fields[0] == DOCUMENT:
            continue
        width = width or len(fields)
        if len(fields) != width or not all(fields):
            raise UserError(
                f"{path}, line {number}: {sum(map(bool, fields))} columns where the first line has {width}; give every "
                "word the same columns, and put an empty line between sentences"
            )
        if column is not None and not 2 <= column <= width:
            raise UserError(
                f"{path}, line {number}: no column {column} for tags; there are {width}, the first is the word"
            )
        if not words[-1]:
            places.append(f"{path}, line {number}")
        words[-1].append(fields[0])
        tags[-1].append(fields[(column or width) - 1])
    if not words[-1]:
        words.pop()
        tags.pop()
    if not words:
        raise UserError(f"{path}: no words; give a file with a word and its tag on each line")
    notes = (f"{path}: tags in column {column or width} of {width}",) if width > 1 else (f"{path}: words without tags",)
    return Sentences(str(path), words, tags if width > 1 else None, places, notes)


def of_table(table: Table, text: str = "", label: str = "") -> Sentences:
    """Sentences of a table whose cells are lists: words, and tags as text or as integers that the file names.

    text, label: the columns; by usual names where nothing is said
    UserError for a row whose lists are empty, no lists, or of unequal length.
    """
    first = named(table, text) if text else among(table, WORDS)
    if first is None:
        raise missing(table, "column of words by a usual name (name one with --text)")
    second = named(table, label) if label else among(table, [name for name in TAGS if name != first])
    words = [_list(table, first, row, value) for row, value in enumerate(table.columns[first])]
    places = [table.at(row) for row in range(len(table))]
    if second is None:
        return Sentences(table.file, [[str(word) for word in row] for row in words], None, places)
    names = table.names.get(second, ())
    tags = []
    for row, value in enumerate(table.columns[second]):
        found = _list(table, second, row, value)
        if len(found) != len(words[row]):
            raise UserError(f"{table.at(row)}: {len(words[row])} words in {first!r}, {len(found)} tags in {second!r}")
        tags.append([_tag(table, second, row, tag, names) for tag in found])
    note = f"{table.file}: words in {first}, tags in {second}"
    if not names and all(isinstance(tag, int) for tag in table.columns[second][0]):
        note += " (numbers that the file does not name)"
    return Sentences(table.file, [[str(word) for word in row] for row in words], tags, places, (note,))


def write_conll(path: Path, columns: Sequence[Sequence[Sequence[str]]]) -> Path:
    """Write columns, each a list a sentence, separated by a space (white space inside a word becomes _)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sentences = (
        "".join(
            " ".join("_".join(field.split()) or "_" for field in fields) + "\n"
            for fields in zip(*sentence, strict=True)
        )
        for sentence in zip(*columns, strict=True)
    )
    files.write(path, "\n".join(sentences).encode())
    return path


def _list(table: Table, column: str, row: int, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{table.at(row)}: {column!r} holds {type(value).__name__}, not a list; choose another column")
    if not value:
        raise UserError(f"{table.at(row)}: {column!r} is an empty list; leave the row out")
    return value


def _tag(table: Table, column: str, row: int, tag: Any, names: tuple[str, ...]) -> str:
    if isinstance(tag, int) and names and 0 <= tag < len(names):
        return names[tag]
    if isinstance(tag, str) and tag.strip():
        return tag.strip()
    if isinstance(tag, int) and not names:
        return str(tag)
    raise UserError(f"{table.at(row)}: {column!r} holds {tag!r}, not a tag; mend it")
