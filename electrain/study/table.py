"""The outcome of a study: a table as markdown and CSV, and a plot, each with every run and the spread."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from electrain.escaping import markdown as markdown_of
from electrain.files import write
from electrain.study.figures import Figures
from electrain.study.page import html
from electrain.tracking import say


@dataclass(frozen=True)
class Column:
    """A figure of the table: its field, its head, and how a number is written (times `scale`)."""

    field: str
    head: str
    form: str
    scale: float = 1.0


COST = (
    Column("steps", "steps", "{:,.0f}"),
    Column("tokens", "tokens, M", "{:.2f}", 1e-6),
    Column("operations", "operations", "{:.4g}"),
    Column("tokens_per_second", "tokens/s", "{:,.0f}"),
    Column("memory", "peak MiB", "{:,.0f}"),
    Column("replaced", "replaced", "{:.2%}"),
)
OWN = (
    Column("rtd_auc", "RTD AUC", "{:.3f}"),
    Column("rtd_accuracy", "RTD accuracy", "{:.3f}"),
    Column("rtd_loss", "RTD loss", "{:.3f}"),
    Column("own_mlm_accuracy", "MLM accuracy", "{:.3f}"),
    Column("own_mlm_loss", "MLM loss", "{:.3f}"),
)
COMMON = (
    Column("swap_auc", "swap AUC", "{:.3f}"),
    Column("mlm_accuracy", "encoder's MLM accuracy", "{:.3f}"),
    Column("mlm_loss", "encoder's MLM loss", "{:.3f}"),
    Column("probe_swapped", "probe: swapped", "{:.3f}"),
    Column("probe_moved", "probe: moved", "{:.3f}"),
)
PLOTTED = ("probe_moved", "probe_swapped", "swap_auc", "mlm_accuracy")


def save(out: Path, title: str, found: Sequence[Figures]) -> list[Path]:
    """Write OUT/table.md, table.csv, plot.html and plot.png, each whole or not at all; returns what was written.

    Without a run there is no plot.html; without matplotlib no plot.png, and a line says so.
    """
    written = [out / "table.md", out / "table.csv"]
    write(written[0], markdown(title, found).encode())
    write(written[1], as_csv(found).encode())
    if (content := html(out, title, list(grouped(found)))) is not None:
        write(out / "plot.html", content.encode())
        written.append(out / "plot.html")
    if (image := plot(title, found)) is not None:
        write(out / "plot.png", image)
        written.append(out / "plot.png")
    return written


def grouped(found: Sequence[Figures]) -> dict[str, list[Figures]]:
    """Runs by recipe, in the order in which the recipes come."""
    groups: dict[str, list[Figures]] = {}
    for one in found:
        groups.setdefault(one.recipe, []).append(one)
    return groups


def numbers(runs: Sequence[Figures], field: str) -> list[float]:
    """A figure of some runs, those left out that have none."""
    return [float(value) for one in runs if (value := getattr(one, field)) is not None]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over runs (n - 1); None for fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def markdown(title: str, found: Sequence[Figures]) -> str:
    """The table for people: mean ± standard deviation a recipe, then every run."""
    text = [f"# {title}", ""]
    groups = grouped(found)
    parts = (
        ("On text damaged alike for all", COMMON),
        ("On what each system makes itself, held out", OWN),
        ("What it cost", COST),
    )
    for head, columns in parts:
        text += [f"## {head}", "", *_rows(("recipe", "runs", *(column.head for column in columns)))]
        text += [
            _line((markdown_of(name), str(len(runs)), *(_mean(runs, c) for c in columns)))
            for name, runs in groups.items()
        ]
        text += [""]
    columns = (*COMMON, *OWN, *COST)
    text += ["## Every run", "", *_rows(("recipe", "seed", *(column.head for column in columns)))]
    text += [_line((markdown_of(one.recipe), str(one.seed), *(_mean([one], c) for c in columns))) for one in found]
    text += ["", "Mean ± standard deviation over seeds (n - 1). What each figure is: electrain/study/figures.py.", ""]
    return "\n".join(text)


def _mean(runs: Sequence[Figures], column: Column) -> str:
    values = [column.scale * value for value in numbers(runs, column.field)]
    if not values:
        return "–"
    around = spread(values)
    middle = column.form.format(statistics.fmean(values))
    return middle if not around else f"{middle} ± {column.form.format(around)}"


def _rows(heads: Sequence[str]) -> list[str]:
    return [_line(heads), _line(["---", *("---:" for _ in heads[1:])])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_csv(found: Sequence[Figures]) -> str:
    """A line a run, in full precision; then a line for the mean and one for the standard deviation of each recipe."""
    names = [item.name for item in fields(Figures)]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    lines.writerows([getattr(one, name) for name in names] for one in found)
    for recipe, runs in grouped(found).items():
        values = [numbers(runs, name) for name in names[2:]]
        lines.writerow([recipe, "mean", *(statistics.fmean(some) if some else None for some in values)])
        lines.writerow([recipe, "sd", *(spread(some) for some in values)])
    return text.getvalue()


def plot(title: str, found: Sequence[Figures]) -> bytes | None:
    """A PNG: a panel a figure, a row a recipe, a dot a run, and mean ± standard deviation.

    None without a run, and without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # no window, no state of the process
        from matplotlib.figure import Figure
    except ImportError:
        say("no plot: matplotlib is not installed; pip install matplotlib, and give the command again")
        return None
    if not (groups := grouped(found)):
        return None
    panels = [c for c in COMMON if c.field in PLOTTED and any(numbers(runs, c.field) for runs in groups.values())]
    panels.sort(key=lambda column: PLOTTED.index(column.field))
    figure = Figure(figsize=(2 + 3.2 * max(1, len(panels)), 1.4 + 0.32 * len(groups)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, panels, strict=False):
        for height, runs in enumerate(groups.values()):
            values = numbers(runs, column.field)
            axis.plot(values, [height] * len(values), "o", color="tab:blue", alpha=0.4, markersize=4)
            if values:
                around = spread(values) or 0.0
                axis.errorbar(statistics.fmean(values), height, xerr=around, fmt="|", color="black", capsize=3)
        axis.set_title(column.head, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(groups)), list(groups))
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=130)
    return image.getvalue()
