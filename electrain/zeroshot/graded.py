"""Pairs of texts with people's scores of their similarity: STS-B in GLUE's columns, or a table like it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.columns import LABEL, among, missing, named, pair_among, plain
from electrain.finetune.glue import HUB
from electrain.finetune.official import TASKS
from electrain.finetune.splits import files_of, listed, split_of
from electrain.finetune.tables import Table, read_hub, read_table

_STSB = TASKS["stsb"]


class Graded(NamedTuple):
    """n pairs, their scores in whatever unit, what was read, and what had to be guessed or was left out."""

    first: list[str]
    second: list[str]
    scores: Float[np.ndarray, " n"]
    where: str
    notes: tuple[str, ...]


def read(data: str, text: str = "", second: str = "", label: str = "") -> Graded:
    """The pairs of a file; of the dev split of a folder, of its folder STS-B, or of a Hub data set.

    text, second, label: columns; by usual names where nothing is said
    UserError if there are none, a text is empty, a score is no number, or all scores are the same.
    """
    tables = _tables(data)
    first_of, second_of, scores = [], [], []
    for table in tables:
        both = (named(table, text), named(table, second)) if text else pair_among(table)
        if both is None:
            raise missing(table, "two columns of texts by usual names (name them with --text and --second)")
        answer = named(table, label) if label else among(table, LABEL)
        if answer is None:
            raise missing(table, "column for the score by a usual name (name one with --label)")
        first_of += columns.texts(table, both[0])
        second_of += columns.texts(table, both[1])
        scores += columns.numbers(table, answer)
    if len(set(scores)) < 2:
        raise UserError(f"{tables[0].file}: all {len(scores)} scores are the same; nothing can follow them")
    where = ", ".join(table.file for table in tables)
    notes = tuple(note for table in tables for note in table.notes)
    return Graded(first_of, second_of, np.array(scores, np.float64), where, notes)


def _tables(data: str) -> list[Table]:
    place = Path(data).expanduser()
    if place.is_file():
        return [_read(place)]
    if place.is_dir():
        inner = [path for path in sorted(place.iterdir()) if path.is_dir() and plain(path.name) in _STSB.names()]
        place = inner[0] if inner else place
        files = files_of(place, prefix=_STSB.names()).get("dev", ())
        if not files:
            raise UserError(f"{place}: no dev split; there are: {listed(place)}. Name a file with --data")
        return [_read(path) for path in files]
    if place.suffix or data.count("/") > 1 or data.startswith((".", "~")):
        raise UserError(f"{data}: no such file or folder; check --data")
    splits = read_hub(data, "stsb") if data == HUB else read_hub(data)
    found = [table for name, table in splits.items() if split_of(name) == "dev"]
    if not found:
        raise UserError(f"{data}: no dev split; there are: {', '.join(splits)}. Name a file with --data")
    return found


def _read(path: Path) -> Table:
    # GLUE's own files: quotation marks are text, and a few of the other files' lines are broken.
    return read_table(path, quoting="off" if ".tsv" in path.name else "auto", ragged="skip")
