"""From the folders of runs to the page, once or for as long as they go on."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from electrain import __version__
from electrain.recipes import load_file
from electrain.report import curves, overview, quality
from electrain.report.history import History, histories
from electrain.report.outcomes import found, outcomes
from electrain.report.page import check, page, save
from electrain.report.sentences import sentences
from electrain.report.settings import Report
from electrain.report.styles import COLOURS, Style, style, swatch
from electrain.report.tags import Html, join, tag
from electrain.start import FIRST
from electrain.tracking import say


def report(how: Report) -> Path:
    """Write the page, and with `watch` write it anew until no run goes on; returns its path.

    UserError for bad input.
    """
    if how.code is not None:
        load_file(how.code)
    check(how.page)
    runs = histories(how.runs)
    on = how.watch and _go_on(runs)
    save(how.page, html(runs, how, on))
    if on:
        say(f"watching {len(runs)} run(s): {how.page} is written every {how.every:.0f} s; Ctrl-C ends it")
    while on:
        time.sleep(how.every)
        runs = histories(how.runs, runs)
        on = _go_on(runs)
        save(how.page, html(runs, how, on))
    if how.watch:
        say("; ".join(f"{run.name}: {run.state} at step {run.lines.step:,}" for run in runs))
    return how.page


def html(runs: list[History], how: Report, on: bool) -> str:
    """The page of some runs. on: it is written again, and so reloads itself."""
    names = ", ".join(run.name for run in runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    reloads = tag("span", f" The page reloads itself every {how.every:.0f} s.", class_="reload") if on else None
    known = found([*how.results, *(run.folder for run in runs if run.folder.name != FIRST)])
    judged = quality.judged([*(run.folder for run in runs), *how.runs])
    recipes = quality.looks(judged, [])
    ends = quality.ends(judged, recipes)
    drawn = curves.data(runs)
    drawn["panels"] += ends
    plots, thin = curves.figures(runs), curves.thinning(runs)
    body = join(
        tag("header", tag("h1", names), tag("p", f"Written {now} by electrain {__version__}.", reloads, class_="soft")),
        controls(runs),
        tag(
            "main",
            overview.standing(runs),
            overview.troubles(runs),
            tag("noscript", tag("p", "The plots need JavaScript; the tables do not.")),
            plots or tag("p", "There is nothing to draw yet: metrics.jsonl has no line."),
            tag("p", thin, class_="soft") if thin else None,
            _compared(ends, recipes, len(drawn["panels"]) - len(ends)) if ends else None,
            sentences(runs),
            outcomes(known, [run.name for run in runs]),
            overview.cards(runs),
        ),
    )
    return page(names, body, {**drawn, "reload": how.every if on else 0})


def _compared(ends: list[dict[str, Any]], recipes: dict[str, Style], first: int) -> Html:
    """What a study has found of these runs."""
    plots = tag("div", quality.places(ends, first), class_="plots")
    return tag("section", tag("h2", "What each system is worth"), quality.legend(recipes), plots)


def controls(runs: list[History]) -> Html:
    """What a reader can choose: over what the curves are drawn, and which runs."""
    counted = any(run.recorded.operations is not None and run.start.operations is not None for run in runs)
    axes = [
        tag(
            "label",
            tag("input", type="radio", name="x", value=name, checked=name == "steps", disabled=not there),
            label,
        )
        for name, label in curves.AXES.items()
        for there in [name != "operations" or counted]
    ]
    shown = [
        tag(
            "label",
            tag("input", type="checkbox", name="run", value=number, checked=True),
            swatch(style(number)),
            run.name,
        )
        for number, run in enumerate(runs)
    ]
    if len(runs) > len(COLOURS):  # to see one of many: none, and then that one
        shown.insert(0, tag("label", tag("input", type="checkbox", name="all", checked=True), "all", class_="all"))
    return tag(
        "form",
        tag("fieldset", tag("legend", "Over"), *axes, class_="axis"),
        tag("fieldset", tag("legend", "Runs"), *shown) if len(runs) > 1 else None,
        id="controls",
        autocomplete="off",
    )


def _go_on(runs: list[History]) -> bool:
    """Whether any of the runs is being trained, or is still to begin."""
    return any(run.state in ("running", "empty") for run in runs)
