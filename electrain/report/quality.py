"""Quality against operations, recipe by recipe, with the spread over seeds: the runs of one study or of several.

As figure 1 of ELECTRA (Clark et al., 2020) has it, from one's own runs.
"""

import html
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from electrain.report.history import History
from electrain.report.lines import Columns
from electrain.report.panels import PANELS
from electrain.report.styles import Style, style, swatch
from electrain.report.tags import Html, join, tag
from electrain.start import FIGURES

MEASURES = {
    "probe_moved": "Probe: a token changed places with its neighbour (AUC)",
    "probe_swapped": "Probe: a token was exchanged (AUC)",
    "swap_auc": "The discriminator on tokens exchanged by frequency (AUC)",
    "mlm_accuracy": "The encoder's own masked LM on [MASK] (accuracy)",
}
OWN = ("rtd_auc", "mlm_accuracy", "rtd_loss", "mlm_loss")
_NOBODY = "untrained"


class Judged(NamedTuple):
    """A judged run: recipe, seed, training operations, and a figure for each of `MEASURES` that it has."""

    recipe: str
    seed: int
    operations: float
    figures: dict[str, float]


def judged(folders: list[Path]) -> list[Judged]:
    """The figures in some folders and in those directly below them; a file that is damaged is none."""
    paths = [path for folder in folders for path in (folder / FIGURES, *sorted(folder.glob(f"*/{FIGURES}")))]
    found = [_judged(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    return [one for one in found if one is not None]


def _judged(path: Path) -> Judged | None:
    try:
        tree = json.loads(path.read_bytes())
        figures = {name: float(tree[name]) for name in MEASURES if tree.get(name) is not None}
        one = Judged(str(tree["recipe"]), int(tree["seed"]), float(tree["operations"]), figures)
        return one if all(map(math.isfinite, (one.operations, *figures.values()))) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def looks(found: list[Judged], runs: list[History]) -> dict[str, Style]:
    """A style for every recipe, in the order in which they come; fresh weights are grey and come last."""
    names = [*(one.recipe for one in found), *(_recipe(run) for run in runs if not _is_first(run, runs))]
    trained = [name for name in dict.fromkeys(names) if name != _NOBODY]
    rest = {_NOBODY: Style("#808080", "dot", "x")} if _NOBODY in names else {}
    return {**{name: style(number) for number, name in enumerate(trained)}, **rest}


def legend(recipes: dict[str, Style]) -> Html:
    """Which recipe is which."""
    items = [tag("li", swatch(look), " ", name) for name, look in recipes.items()]
    return tag("ul", *items, class_="legend")


def ends(found: list[Judged], recipes: dict[str, Style]) -> list[dict[str, Any]]:
    """A plot for every measure: over operations, if the runs differ in them; else a row a recipe."""
    budgets = {f"{one.operations:.2g}" for one in found if one.operations}
    draw: Callable[..., dict[str, Any]] = _over_operations if len(budgets) > 1 else _side_by_side
    return [
        draw(name, title, here, recipes)
        for name, title in MEASURES.items()
        if (here := [one for one in found if name in one.figures])
    ]


def _over_operations(name: str, title: str, found: list[Judged], recipes: dict[str, Style]) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    reach = [one.operations for one in found if one.operations]
    for recipe, look in recipes.items():
        here = [one for one in found if one.recipe == recipe]
        if recipe == _NOBODY and here and reach:
            level = statistics.fmean(one.figures[name] for one in here)
            line = {"color": look.colour, "dash": "dot", "width": 1.5}
            traces.append(_trace(recipe, [min(reach), max(reach)], [level, level], mode="lines", line=line))
        groups: dict[str, list[Judged]] = {}
        for one in sorted(here, key=lambda one: one.operations):
            if one.operations:
                groups.setdefault(f"{one.operations:.2g}", []).append(one)
        if groups:
            x = [statistics.fmean(one.operations for one in group) for group in groups.values()]
            values = [[one.figures[name] for one in group] for group in groups.values()]
            traces.append(_trace(
                recipe, x, [statistics.fmean(some) for some in values], mode="lines+markers",
                line={"color": look.colour, "dash": look.dash, "width": 1.75},
                marker={"color": look.colour, "symbol": look.symbol, "size": 8},
                error_y={"type": "data", "array": [_spread(some) for some in values], "width": 4, "thickness": 1.2},
            ))  # fmt: skip
    scale = {"type": "log", "dtick": 1} if max(reach) >= 10 * min(reach) else {"rangemode": "tozero"}
    axes = {"xaxis": {"title": {"text": "training operations"}, "tickformat": ".2~e", "nticks": 6, **scale}}
    return {"title": title, "about": "Mean and standard deviation over seeds.", "traces": traces, "layout": axes}


def _side_by_side(name: str, title: str, found: list[Judged], recipes: dict[str, Style]) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    there = [recipe for recipe in recipes if any(one.recipe == recipe for one in found)]
    for recipe in there:
        values, look = [one.figures[name] for one in found if one.recipe == recipe], recipes[recipe]
        shown = html.escape(recipe)
        traces.append(_trace(
            recipe, values, [shown] * len(values), mode="markers",
            marker={"color": look.colour, "symbol": look.symbol, "size": 9, "opacity": 0.55},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        ))  # fmt: skip
        traces.append(_trace(
            recipe, [statistics.fmean(values)], [shown], mode="markers",
            marker={"color": look.colour, "symbol": "line-ns-open", "size": 16, "line": {"width": 2}},
            error_x={"type": "data", "array": [_spread(values)], "width": 5, "thickness": 1.5},
            hovertemplate="%{y}, mean: %{x:.3f}<extra></extra>",
        ))  # fmt: skip
    names = [html.escape(recipe) for recipe in there]
    layout = {
        "height": 90 + 26 * len(there), "hovermode": "closest", "xaxis": {"title": {"text": ""}, "nticks": 6},
        "yaxis": {"categoryorder": "array", "categoryarray": names[::-1], "automargin": True, "type": "category",
                  "dtick": 1},
    }  # fmt: skip
    about = "A mark a seed, the mean, and the standard deviation over seeds; all at the same operations."
    return {"title": title, "about": about, "traces": traces, "layout": layout}


def ways(runs: list[History], recipes: dict[str, Style]) -> list[dict[str, Any]]:
    """The systems' own figures on the way there: mean over seeds, and a band of one standard deviation."""
    plots = []
    groups: dict[str, list[History]] = {}
    for run in runs:
        if run.recorded.operations is not None and run.start.operations is not None and not _is_first(run, runs):
            groups.setdefault(_recipe(run), []).append(run)
    for name in OWN:
        held_out = max((len(run.lines.eval.series(name)[0]) for run in runs), default=0) > 1
        traces = []
        for recipe, several in groups.items():
            if recipe in recipes:
                traces += _band(recipe, several, name, held_out, recipes[recipe])
        if traces:
            panel = next(panel for panel in PANELS if panel.metric == name)
            where = "Held out" if held_out else "In training"
            about = f"{where}, on what each system makes itself; the band is the standard deviation over seeds."
            axes = {"xaxis": {"title": {"text": "training operations"}, "tickformat": ".2~e", "nticks": 6}}
            plots.append({"title": panel.title, "about": about, "traces": traces, "layout": axes})
    return plots


def _band(recipe: str, runs: list[History], name: str, held_out: bool, look: Style) -> list[dict[str, Any]]:
    points: dict[float, list[float]] = {}
    for run in runs:
        columns: Columns = run.lines.eval if held_out else run.lines.train
        steps, values = columns.series(name)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            if math.isfinite(value):
                points.setdefault((run.start.operations or 0) + step * (run.recorded.operations or 0), []).append(value)
    x = [place for place in sorted(points) if len(points[place]) == max(map(len, points.values()))]
    if not x:
        return []
    middle, around = [statistics.fmean(points[place]) for place in x], [_spread(points[place]) for place in x]
    line = {"color": look.colour, "dash": look.dash, "width": 1.75}
    marker = {"color": look.colour, "symbol": look.symbol, "size": 6}
    mode = "lines+markers" if held_out or len(x) == 1 else "lines"
    traces = [_trace(recipe, x, middle, mode=mode, line=line, marker=marker)]
    if any(around):
        edge = [m + a for m, a in zip(middle, around, strict=True)]
        edge += [m - a for m, a in zip(middle[::-1], around[::-1], strict=True)]
        traces.insert(0, {
            "type": "scatter", "x": x + x[::-1], "y": edge, "fill": "toself", "fillcolor": look.colour, "opacity": 0.18,
            "mode": "none", "hoverinfo": "skip",
        })  # fmt: skip
    return traces


def _trace(name: str, x: list[Any], y: list[Any], **more: Any) -> dict[str, Any]:
    said = {"hovertemplate": f"{html.escape(name)}: %{{y:.3f}}<extra></extra>"}
    return {"type": "scatter", "x": x, "y": y, **said, **more}


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _recipe(run: History) -> str:
    name = run.recorded.tree["run"].get("recipe")
    return name if isinstance(name, str) and name else run.name


def _is_first(run: History, runs: list[History]) -> bool:
    return any(other.before is run for other in runs)


def places(plots: list[dict[str, Any]], first: int) -> Html:
    """An empty place for each of the plots, which are numbered from `first` among those of the page."""
    return join(*(
        tag(
            "figure",
            tag("figcaption", tag("h3", plot["title"]), tag("p", plot["about"])),
            tag("div", class_="plot low", data_plot=number, role="img", aria_label=plot["title"]),
        )
        for number, plot in enumerate(plots, first)
    ))  # fmt: skip
