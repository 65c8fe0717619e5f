"""How runs are told apart: by colour, dashes and marker together, so that each alone would do for a few."""

from dataclasses import dataclass

from electrain.report.tags import Html, tag

# After Okabe and Ito (2008), without black and yellow, darkened or lightened until each stands out from white and from
# the dark page (a contrast of 3 or more), so that a plot is the same in both.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc6aa0", "#8c7c00", "#2b95cf", "#808080")
DASHES = {"solid": "", "dash": "9 6", "dot": "2 4", "dashdot": "9 4 2 4", "longdash": "14 5"}
SYMBOLS = {
    "circle": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "square": "M-3.6 -3.6H3.6V3.6H-3.6Z",
    "diamond": "M0 -5L5 0L0 5L-5 0Z",
    "triangle-up": "M0 -4.6L4.6 3.6H-4.6Z",
    "x": "M-4 -4L4 4M-4 4L4 -4",
}


@dataclass(frozen=True)
class Style:
    """Colour, dash and marker, in plotly's words."""

    colour: str
    dash: str
    symbol: str


def style(number: int) -> Style:
    """The style of the number-th run or series, from 0. The first 35 all differ."""
    turn = number // len(COLOURS)
    colour, dash = COLOURS[number % len(COLOURS)], list(DASHES)[(number + turn) % len(DASHES)]
    return Style(colour, dash, list(SYMBOLS)[(number + turn) % len(SYMBOLS)])


def swatch(look: Style) -> Html:
    """A short piece of the line with its marker, for a legend."""
    line = tag("path", d="M0 8H36", stroke=look.colour, stroke_width="2.5", stroke_dasharray=DASHES[look.dash] or None)
    mark = tag(
        "path", d=SYMBOLS[look.symbol], fill=look.colour, stroke=look.colour, stroke_width="1.5",
        transform="translate(18 8)",
    )  # fmt: skip
    return tag("svg", line, mark, width="36", height="16", viewBox="0 0 36 16", aria_hidden="true", fill="none")
