"""Cells as HTML: everything that comes from a text, a tokenizer or a name is escaped."""

import html
from collections.abc import Iterable, Sequence

from electrain.escaping import printable
from electrain.inspect.cells import Cell, worst

# Sign, what it looks like beside the characters, what the legend says. Every one can be told without colour.
SIGNS = {
    "top": ("▲", "the most suspicious"),
    "suspect": ("", "replaced? 50 % or more"),
    "noticed": ("✓", "replaced, and noticed"),
    "missed": ("✗", "replaced, and missed"),
    "alarm": ("!", "original, but suspected"),
    "picked": ("", "selected"),
    "kept": ("", "selected, but left to be read"),
    "mask": ("", "masked"),
    "new": ("", "the generator's"),
    "right": ("=", "sampled right: the text's own token"),
    "unknown": ("", "unknown to the tokenizer"),
}

STYLE = """
.el { font-size: 1.05rem; line-height: 2.1; overflow-wrap: anywhere; white-space: pre-wrap; }
.el-side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1.5rem; }
.el-side > section { min-width: 0; }
.el-side h3, .el-side h4, .el-steps h4 { margin: .2rem 0; overflow-wrap: anywhere; }
.el-side h4, .el-steps h4 { margin-top: 1rem; font-size: .85rem; opacity: .75; }
.el-steps + .el-side { margin-top: 1.5rem; }
.el-side p, .el-legend { margin: .3rem 0; font-size: .9rem; }
.el-note { border-left: 3px solid #0072b2; padding-left: .6rem; }
.el b { font-weight: inherit; border-radius: .2rem; padding: .1rem .05rem; border-bottom: 3px solid transparent;
  background: rgb(213 94 0 / calc(var(--p, 0) * 70%)); position: relative; }
.el b.suspect, .el b.noticed, .el b.alarm { border-bottom-color: #d55e00; }
.el b.top { outline: 2px solid currentColor; outline-offset: 1px; }
.el b.missed { border-bottom: 3px dotted #0072b2; }
.el b.noticed, .el b.missed { font-weight: 700; }
.el b.picked, .el b.kept { border-bottom: 3px solid #0072b2; }
.el b.kept { border-bottom-style: dotted; }
.el b.mask { opacity: .6; font-size: .85em; }
.el b.new { font-weight: 700; border-bottom: 3px solid #0072b2; }
.el b.unknown { text-decoration: underline wavy; }
.el sup { font-size: .7em; line-height: 0; font-weight: 700; user-select: none; }
.el.el-numbers { line-height: 2.6; }
.el sub { font-size: .62em; opacity: .8; padding-left: .1em; user-select: none; }
.el-legend { display: flex; flex-wrap: wrap; gap: .1rem 1.4rem; line-height: 2; }
.el-legend .el { line-height: inherit; margin-right: .6rem; white-space: nowrap; }
"""


def text(value: str) -> str:
    """Escaped, control characters visible."""
    return html.escape(printable(value))


def line(cells: Iterable[Cell], numbers: bool = False) -> str:
    """One line of cells."""
    inner = "".join(_cell(cell, numbers) for cell in cells)
    return f'<div class="el{" el-numbers" if numbers else ""}" dir="auto">{inner}</div>'


def _cell(cell: Cell, numbers: bool) -> str:
    if not cell.about:
        return text(cell.gap + cell.shown)
    mark = "".join(SIGNS[sign][0] for sign in SIGNS if sign in cell.signs)
    mark = f"<sup>{mark}</sup>" if mark else ""
    number = f"<sub>{text(cell.number)}</sub>" if numbers and cell.number else ""
    names = " ".join(sorted(cell.signs))
    shade = f' style="--p:{cell.shade:.3f}"' if cell.shade else ""
    inner = f"{mark}{text(cell.shown)}{number}"
    return f'{text(cell.gap)}<b class="{names}" title="{text(cell.about)}"{shade}>{inner}</b>'


def legend(signs: Iterable[str]) -> str:
    """What the signs mean."""
    shown = [name for name in SIGNS if name in set(signs)]
    said = (
        f'<span><span class="el"><b class="{name}"><sup>{SIGNS[name][0]}</sup>word</b></span>{SIGNS[name][1]}</span>'
        for name in shown
    )
    return f'<p class="el-legend">{"".join(said)}</p>'


def suspects(cells: Sequence[Cell], unit: str) -> str:
    """The most suspicious cells in words, for who cannot point or sees no colour."""
    found = [f"<strong>{text(cell.shown.strip())}</strong> {text(cell.number)}{unit}" for cell in worst(cells)]
    return paragraph("most suspicious: " + ", ".join(found), escape=False) if found else ""


def paragraph(said: str, *, escape: bool = True, note: bool = False) -> str:
    """A paragraph; a note stands out."""
    return f"<p{' class=el-note' if note else ''}>{text(said) if escape else said}</p>"


def heading(said: str, level: int = 3) -> str:
    """A heading."""
    return f"<h{level}>{text(said)}</h{level}>"


def sides(parts: Sequence[str]) -> str:
    """Sections side by side; one below another where the page is narrow."""
    return f'<div class="el-side">{"".join(f"<section>{part}</section>" for part in parts)}</div>'
