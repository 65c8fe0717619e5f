"""Accuracy over minimal pairs, by paradigm, by phenomenon and over all; as a table and as files."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from electrain.escaping import printable
from electrain.files import write
from electrain.zeroshot.pairs import PARADIGMS, Paradigm

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """pairs: how many; accuracy: share of them decided rightly, a tie counts half; ties: their share."""

    pairs: int
    accuracy: float
    ties: float


@dataclass(frozen=True)
class Results:
    """Figures by name; those of a phenomenon and of all are means over paradigms, which weigh the same.

    phenomenon: of every paradigm
    """

    overall: Figure
    phenomena: dict[str, Figure]
    paradigms: dict[str, Figure]
    phenomenon: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """Paradigms of BLiMP that are not among these."""
        return sorted(PARADIGMS - self.paradigms.keys())


def figure(good: Float[np.ndarray, " n"], bad: Float[np.ndarray, " n"]) -> Figure:
    """Of n pairs by their two scores. A tie is an equal score, to the last bit."""
    ties = float((good == bad).mean())
    return Figure(len(good), float((good > bad).mean()) + ties / 2, ties)


def macro(figures: Sequence[Figure]) -> Figure:
    """Every paradigm weighs the same, as the literature has it."""
    accuracy, ties = (float(np.mean([getattr(one, name) for one in figures])) for name in ("accuracy", "ties"))
    return Figure(sum(one.pairs for one in figures), accuracy, ties)


def results(paradigms: Sequence[Paradigm], scores: Float[np.ndarray, "n 2"]) -> Results:
    """From the scores of all pairs, one paradigm after another, good and bad."""
    parts = np.split(scores, np.cumsum([len(paradigm.pairs) for paradigm in paradigms])[:-1])
    each = {paradigm.uid: figure(*part.T) for paradigm, part in zip(paradigms, parts, strict=True)}
    of = {paradigm.uid: paradigm.phenomenon for paradigm in paradigms}
    phenomena = {
        name: macro([one for uid, one in each.items() if of[uid] == name]) for name in dict.fromkeys(of.values())
    }
    return Results(macro(list(each.values())), phenomena, each, of)


def save(made: Results, about: dict[str, object], folder: Path, name: str) -> list[Path]:
    """Write NAME.json (figures and what they were made with) and NAME.csv (a figure a line)."""
    content = {
        **about,
        **asdict(made.overall),
        "missing": made.missing,
        "phenomena": {name: asdict(one) for name, one in made.phenomena.items()},
        "paradigms": {uid: {"phenomenon": made.phenomenon[uid], **asdict(one)} for uid, one in made.paradigms.items()},
    }
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["level", "name", "phenomenon", "pairs", "accuracy", "ties"])
    rows = [("overall", "overall", "", made.overall)]
    rows += [("phenomenon", name, name, one) for name, one in made.phenomena.items()]
    rows += [("paradigm", uid, made.phenomenon[uid], one) for uid, one in made.paradigms.items()]
    table.writerows([level, name, of, one.pairs, one.accuracy, one.ties] for level, name, of, one in rows)
    files = {".json": json.dumps(content, indent=1) + "\n", ".csv": lines.getvalue()}
    for ending, text in files.items():
        write(folder / f"{name}{ending}", text.encode())
    return [folder / f"{name}{ending}" for ending in files]


def save_pairs(paradigms: Sequence[Paradigm], scores: Float[np.ndarray, "n 2"], path: Path) -> Path:
    """Write every pair with its scores, a line of JSON each."""
    pairs = [(paradigm.uid, pair) for paradigm in paradigms for pair in paradigm.pairs]
    lines = [
        json.dumps({"UID": uid, "good": pair.good, "bad": pair.bad, "score_good": good, "score_bad": bad})
        for (uid, pair), (good, bad) in zip(pairs, scores.tolist(), strict=True)
    ]
    write(path, ("\n".join(lines) + "\n").encode())
    return path


def table(made: Results, title: str) -> "Table":
    """In per cent: every phenomenon, its paradigms below it, all at the end."""
    from rich.table import Table
    from rich.text import Text

    out = Table("", "pairs", "accuracy", "ties", title=Text(printable(title)))
    for column in out.columns[1:]:
        column.justify = "right"

    def row(name: str, one: Figure, style: str = "") -> None:
        out.add_row(
            Text(printable(name)), f"{one.pairs:,}", f"{100 * one.accuracy:.1f}", f"{100 * one.ties:.2f}", style=style
        )

    for name, whole in made.phenomena.items():
        row(name, whole, "bold")
        for uid, one in made.paradigms.items():
            if made.phenomenon[uid] == name:
                row(f"  {uid}", one)
    out.add_section()
    row("mean of the paradigms", made.overall, "bold")
    return out
