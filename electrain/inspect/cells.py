"""What is shown of a line: characters with a shade, a number, a sign and words for who points at them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from electrain.inspect.line import Line
from electrain.inspect.verdict import Kind, Verdict

SUSPECT = 0.5  # probability from which a token counts as called replaced


class Cell(NamedTuple):
    """Characters that are shown as one.

    gap    what stands before them
    shown  the characters
    shade  from 0, nothing, to 1
    number what is written under them, or ""
    about  what is said to who points at them
    signs  names of what they are: top, suspect, noticed, missed, alarm, picked, mask, new, unknown
    """

    gap: str
    shown: str
    shade: float = 0.0
    number: str = ""
    about: str = ""
    signs: frozenset[str] = frozenset()


def plain(line: Line, signs: Sequence[str], about: Sequence[str]) -> list[Cell]:
    """A line without a verdict: a sign ("" for none) and words for every token."""
    return _joined(
        line,
        [
            Cell(token.gap, token.shown, 0.0, "", f"{token.name}{said}", frozenset({sign} - {""}))
            for token, sign, said in zip(line.tokens, signs, about, strict=True)
        ],
    )


def judged(
    line: Line, verdict: Verdict, unknown: int, replaced: Bool[np.ndarray, " n"] | None = None, about: str = ""
) -> list[Cell]:
    """A line with a verdict.

    unknown:   id of the token for what the tokenizer does not know
    replaced:  where the line is corrupted, which of its tokens are not the text's: noticed, missed, falsely suspected
    """
    cells, top = [], int(verdict.values.argmax()) if line.tokens else -1
    for place, (token, value, shade) in enumerate(zip(line.tokens, verdict.values, verdict.shades, strict=True)):
        signs = {"top"} if place == top else set()
        signs |= {"unknown"} if token.id == unknown else set()
        suspect = verdict.kind == "replaced" and value >= SUSPECT
        if replaced is not None and verdict.kind == "replaced":
            signs |= {("noticed" if suspect else "missed") if replaced[place] else ("alarm" if suspect else "")} - {""}
        elif suspect:
            signs |= {"suspect"}
        number, words = figure(verdict.kind, float(value))
        name = "unknown to the tokenizer" if token.id == unknown else token.name
        cells.append(Cell(token.gap, token.shown, float(shade), number, f"{name}: {words}", frozenset(signs)))
    return _joined(line, cells)


def figure(kind: Kind, value: float) -> tuple[str, str]:
    """A token's number, short and in words."""
    if kind == "replaced":
        share = f"{100 * value:.0f}" if 0.005 <= value <= 0.995 else f"{100 * value:.2g}" if value < 0.5 else ">99"
        return share, f"replaced? {100 * value:.2f} %"
    if kind == "surprise":
        return f"{value:.1f}", f"{value:.2f} bits of surprise, probability {100 * 2.0**-value:.3g} %"
    return f"{value:.1f}", f"energy {value:.3f}"


def worst(cells: Sequence[Cell], count: int = 5) -> list[Cell]:
    """The most suspicious cells, the worst first."""
    return sorted((cell for cell in cells if cell.about), key=lambda cell: -cell.shade)[:count]


def _joined(line: Line, cells: list[Cell]) -> list[Cell]:
    """Cells without characters (the later bytes of an emoji) joined with the one before; then the line's end."""
    out: list[Cell] = []
    for cell in cells:
        if cell.shown or cell.gap or not out:
            out.append(cell)
            continue
        before = out[-1]
        worse = max(before, cell, key=lambda one: one.shade)
        about = f"{before.about}\n{cell.about}"
        out[-1] = before._replace(shade=worse.shade, number=worse.number, about=about, signs=before.signs | cell.signs)
    return [*out, Cell(line.rest, "")] if line.rest else out
