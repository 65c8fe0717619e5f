"""Which column is which: texts, labels and numbers of a table by their usual names, checked row by row."""

import math
import re
from collections.abc import Sequence
from typing import Any

from electrain.errors import UserError
from electrain.finetune.tables import Table

PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text", "textpair"),
    ("texta", "textb"),
    ("1string", "2string"),  # MRPC's "#1 String", "#2 String"
    ("string1", "string2"),
    ("query", "passage"),
    ("question", "answer"),
    ("s1", "s2"),
)
SINGLE = ("text", "sentence", "content", "review", "document", "comment", "tweet", "message", "body", "title", "string")
LABEL = (
    *("label", "goldlabel", "labels", "class", "category", "target", "isduplicate", "quality", "sentiment", "intent"),
    *("score", "similarity", "similarityscore", "rating", "stars", "value", "y"),
)
INDEX = ("idx", "index", "id")


def plain(name: str) -> str:
    """A name without case and punctuation: "SST-2" and "sst2" are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def among(table: Table, names: Sequence[str]) -> str | None:
    """The first of the names (plain) that is a column of the table, as the table spells it."""
    spelt = {plain(column): column for column in reversed(list(table.columns))}
    return next((spelt[name] for name in names if name in spelt), None)


def pair_among(table: Table, first: tuple[tuple[str, str], ...] = ()) -> tuple[str, str] | None:
    """The two columns of texts, by the usual names of pairs; `first` are tried before."""
    for one, two in (*first, *PAIRS):
        found = among(table, [one]), among(table, [two])
        if found[0] and found[1]:
            return found[0], found[1]
    return None


def named(table: Table, column: str) -> str:
    """The column that the user named. UserError with those that there are."""
    if column not in table.columns:
        raise missing(table, f"column {column!r}")
    return column


def missing(table: Table, what: str) -> UserError:
    """The error that lists the columns there are."""
    return UserError(f"{table.file}: no {what}; its columns are: {', '.join(table.columns)}")


def texts(table: Table, column: str) -> list[str]:
    """A column of texts. UserError for a row that is empty or holds something else."""
    values = table.columns[column]
    for row, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            raise UserError(f"{table.at(row)}: {column!r} is empty; fill it in or leave the row out")
        if not isinstance(value, str):
            kind = type(value).__name__
            raise UserError(f"{table.at(row)}: {column!r} holds {kind} {value!r}, not a text; choose another column")
    return values


def words(table: Table, column: str) -> list[str]:
    """A column of classes as words: integers by the names that the file gives them, else as digits.

    UserError for a row without a label, and for numbers that are no classes.
    """
    names = table.names.get(column, ())
    return [_word(table, column, row, value, names) for row, value in enumerate(table.columns[column])]


def _word(table: Table, column: str, row: int, value: Any, names: tuple[str, ...]) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes integers so where a row is empty
    if isinstance(value, int) and names:
        if not 0 <= value < len(names):
            raise UserError(f"{table.at(row)}: {column!r} is {value}, the file names {len(names)} classes; mend it")
        return names[value]
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, str) and value.strip():
        return value.strip()
    if value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value)):
        raise UserError(f"{table.at(row)}: {column!r} is empty; give every row a label")
    kind = "the number" if isinstance(value, float) else type(value).__name__
    raise UserError(f"{table.at(row)}: {column!r} holds {kind} {value!r}, not a class; for numbers choose `regress`")


def numbers(table: Table, column: str, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """A column of numbers. UserError for a row that holds none, or one that is not finite or not in low .. high."""
    found = []
    for row, value in enumerate(table.columns[column]):
        try:
            number = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{table.at(row)}: {column!r} holds {value!r}, not a number; mend it or choose a column")
        if not low <= number <= high:
            raise UserError(f"{table.at(row)}: {column!r} is {number:g}, outside {low:g} to {high:g}; mend it")
        found.append(number)
    return found
