"""The plots of a page: what its script draws, as plain values, and the places where it draws them."""

from typing import Any

import numpy as np

from electrain.report.history import History
from electrain.report.lines import Columns
from electrain.report.panels import GROUPS, Family, Panel, members, panels
from electrain.report.styles import style, swatch
from electrain.report.tags import Html, join, tag
from electrain.report.thin import MOST, thinned

AXES = {"steps": "steps", "tokens": "tokens", "operations": "operations", "hours": "hours"}


def data(runs: list[History]) -> dict[str, Any]:
    """What the page's script draws from; every number in it is finite or null."""
    return {"runs": [_run(run, number) for number, run in enumerate(runs)], "panels": _plots(runs)}


def figures(runs: list[History]) -> Html:
    """A heading for every group of plots, and an empty place for every plot."""
    plots, parts = _plots(runs), []
    for group, head in GROUPS.items():
        places = [
            tag(
                "figure",
                tag("figcaption", tag("h3", plot["title"]), tag("p", plot["about"]) if plot["about"] else None),
                tag("div", class_="plot", data_plot=number, role="img", aria_label=_spoken(plot, runs)),
                *_legend(plot),
            )
            for number, plot in enumerate(plots)
            if plot["group"] == group
        ]
        if places:
            parts.append(tag("section", tag("h2", head), tag("div", *places, class_="plots")))
    return join(*parts)


def thinning(runs: list[History]) -> str:
    """What is said where not every line is drawn; "" where all are."""
    longest = max((len(columns.steps) for run in runs for columns in (run.lines.train, run.lines.eval)), default=0)
    if longest <= MOST:
        return ""
    return (
        f"The longest log has {longest:,} lines of a kind. Curves are drawn through {MOST:,} of them at most: the "
        "lowest and the highest of each stretch, so that no spike is lost."
    )


def _run(run: History, number: int) -> dict[str, Any]:
    look, start, (steps, hours) = style(number), run.start, run.hours
    operations = run.recorded.operations
    known = operations is not None and start.operations is not None
    at = thinned(hours)
    return {
        "name": run.name,
        "colour": look.colour,
        "dash": look.dash,
        "symbol": look.symbol,
        "tokens": [start.tokens, run.tokens],
        "operations": [start.operations, operations] if known else None,
        "grown": None if run.grown is None else [_numbers(column) for column in run.grown],
        "hours": [start.hours, _numbers(steps[at]), _numbers(hours[at])],
        "train": _series(run.lines.train),
        "eval": _series(run.lines.eval),
        "bad": [step for step, _ in run.lines.troubles[:50]],
    }


def _series(columns: Columns) -> dict[str, Any]:
    found = {}
    for name in columns.names:
        steps, values = columns.series(name)
        at = thinned(values)
        found[name] = [_numbers(steps[at]), _numbers(values[at])]
    return found


def _numbers(values: np.ndarray) -> list[float | int | None]:
    """Six digits of each; null for what is not finite."""
    short = (float(f"{value:.6g}") if np.isfinite(value) else None for value in values.tolist())
    return [int(value) if value is not None and value == int(value) and abs(value) < 1e6 else value for value in short]


def _plots(runs: list[History]) -> list[dict[str, Any]]:
    names = {name for run in runs for columns in (run.lines.train, run.lines.eval) for name in columns.names}
    plots: list[dict[str, Any]] = []
    for panel in panels(names):
        common = {"title": panel.title, "about": panel.about, "group": panel.group, "form": panel.form}
        if isinstance(panel, Panel):
            there = [number for number, run in enumerate(runs) if panel.metric in _names(run)]
            lines = [{"metric": panel.metric, "label": "", "thin": False}]
            lines += [{"metric": name, "label": "", "thin": True} for name in panel.beside if name in names]
            plots.append({**common, "runs": there, "lines": lines})
            continue
        for number, run in enumerate(runs):  # the lines of a family are told apart by colour: a plot for each run
            if own := members(panel, _names(run)):
                where = f": {run.name}" if len(runs) > 1 else ""
                plots.append({**common, "title": panel.title + where, "runs": [number], "lines": _family(panel, own)})
    return plots


def _family(family: Family, names: list[str]) -> list[dict[str, Any]]:
    looks = [style(number) for number in range(len(names))]
    return [
        {"metric": name, "label": f"{family.label} {name.removeprefix(family.prefix)}", "thin": False, **vars(look)}
        for name, look in zip(names, looks, strict=True)
    ]


def _names(run: History) -> set[str]:
    return {*run.lines.train.names, *run.lines.eval.names}


def _legend(plot: dict[str, Any]) -> list[Html]:
    """Of a family: its lines. Runs have one legend for all plots."""
    looks = [(line, style(number)) for number, line in enumerate(plot["lines"]) if line["label"]]
    items = [tag("li", swatch(look), " ", line["label"]) for line, look in looks]
    return [tag("ul", *items, class_="legend")] if items else []


def _spoken(plot: dict[str, Any], runs: list[History]) -> str:
    """The plot in words: where each line ended."""
    ends = []
    for number in plot["runs"]:
        for line in plot["lines"]:
            value = runs[number].last(line["metric"])
            if value is not None and not line["thin"]:
                ends.append(f"{runs[number].name}{' ' + line['label'] if line['label'] else ''} {value:.4g}")
    return f"{plot['title']}; at the end {', '.join(ends)}"
