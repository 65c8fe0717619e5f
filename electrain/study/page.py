"""The outcome of a study as a page: what the plot shows, to be looked into, and the way there."""

from pathlib import Path

from electrain.errors import UserError
from electrain.report import quality, recorded
from electrain.report.history import histories
from electrain.report.page import page
from electrain.report.tags import join, tag
from electrain.tracking import say


def html(out: Path, title: str, order: list[str]) -> str | None:
    """The page of the study in `out`, its recipes in this order; None where no run has begun.

    None as well, and a line says why, where it cannot be read.
    """
    if not any(out.glob(f"*/{recorded.NAME}")):  # fresh weights alone
        return None
    try:
        runs = histories((out,))
    except UserError as error:
        say(f"no page: {error}")
        return None
    found = quality.judged([out])
    place = {recipe: number for number, recipe in enumerate(order)}
    found.sort(key=lambda one: (place.get(one.recipe, len(place)), one.recipe, one.seed))
    recipes = quality.looks(found, runs)
    ends, ways = quality.ends(found, recipes), quality.ways(runs, recipes)
    body = join(
        tag("header", tag("h1", title)),
        tag("noscript", tag("p", "The plots need JavaScript; table.md has the figures.")),
        quality.legend(recipes),
        tag("h2", "What each system is worth at the end"),
        tag("div", quality.places(ends, 0), class_="plots"),
        tag("h2", "On the way there"),
        tag("div", quality.places(ways, len(ends)), class_="plots"),
    )
    return page(title, body, {"runs": [], "panels": [*ends, *ways], "reload": 0})
