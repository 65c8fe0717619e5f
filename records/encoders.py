"""Encoders side by side: tables and plots of several studies with the same operations and data.

    python records/encoders.py --out records/NAME "post-LN=STUDY" "modern=OTHER" ...

Reads every run's figures.json and log, and what `electrain blimp`, `similarity` and `finetune` wrote into the run's
folder (RUN/blimp, RUN/similarity, RUN/finetuned); all of it goes into runs.json. Mean and standard deviation (n - 1)
over seeds; the plots show every run.
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from electrain.report.history import histories
from electrain.start import FIGURES, trained
from electrain.study.conduct import UNTRAINED
from electrain.study.figures import Figures

# name: head, decimals
PRETRAINING = {
    "probe_moved": ("probe: moved", 3),
    "probe_swapped": ("probe: swapped", 3),
    "swap_auc": ("swap AUC", 3),
    "rtd_auc": ("own RTD AUC", 3),
    "own_mlm_loss": ("own MLM loss", 2),
    "own_mlm_accuracy": ("own MLM accuracy", 3),
    "tokens": ("million tokens", 2),
    "tokens_per_second": ("tokens/s", 0),
    "memory": ("peak MiB", 0),
}
JUDGED = {
    "blimp": ("BLiMP", 3),
    "similarity": ("STS-B, cosines", 3),
    "mrpc": ("MRPC", 3),
    "stsb": ("STS-B", 3),
    "qnli": ("QNLI", 3),
    "qqp": ("QQP", 3),
    "mnli": ("MNLI", 3),
    "sst2": ("SST-2", 3),
    "wnli": ("WNLI", 3),
    "squad": ("SQuAD F1", 3),
    "squad2": ("SQuAD 2.0 F1", 3),
}
MEASURES = PRETRAINING | JUDGED
ENDS = ("probe_moved", "probe_swapped", "swap_auc", "own_mlm_loss", *JUDGED)
WAYS = {"mlm_loss": "masked LM: held-out loss", "rtd_auc": "discriminator: AUC on its own samples"}
# told apart by the colour-blind (Okabe and Ito)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#f0e442")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.", *((0, (5, 1, *(1, 1) * dots)) for dots in (2, 3, 4, 5)))

Row = dict[str, Any]
Cell = tuple[str, str]


def row(run: Path, label: str) -> Row:
    """One run: what it is, its measures, and its held-out metrics by operations."""
    own = Figures.load(run / FIGURES)
    values = {name: value for name in MEASURES if (value := getattr(own, name, None)) is not None}
    if own.tokens:
        values["tokens"] = own.tokens / 1e6
    else:
        values.pop("tokens")
    for path in run.glob("blimp/*.json"):
        values["blimp"] = json.loads(path.read_text())["accuracy"]
    for path in run.glob("similarity/*.json"):
        values["similarity"] = json.loads(path.read_text())["mean"]["spearman"]["value"]
    for path in run.glob("finetuned/*/summary.json"):
        values[path.parent.name] = json.loads(path.read_text())["runs"]
    found = {"encoder": label, "recipe": own.recipe, "seed": own.seed, "steps": own.steps, "operations": own.operations}
    return found | {"values": values, "ways": ways(run) if trained(run) else {}}


def ways(run: Path) -> dict[str, list[list[float]]]:
    """Held-out metrics of the last stage: operations up to there, the stage before counted in, and values."""
    last = histories((run,))[-1]
    step, before = last.recorded.operations, last.start.operations
    if step is None or before is None:
        raise SystemExit(f"{run}: its operations cannot be counted by this version")
    found = {}
    for name in WAYS:
        steps, numbers = last.lines.eval.series(name)
        if len(steps):
            found[name] = [(before + step * steps).tolist(), numbers.tolist()]
    return found


def gathered(rows: Iterable[Row], labels: list[str]) -> dict[Cell, list[Row]]:
    """Runs by recipe and encoder, the recipes as the studies made them, the untrained first."""
    found: dict[Cell, list[Row]] = {}
    for one in rows:
        found.setdefault((one["recipe"], one["encoder"]), []).append(one)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != UNTRAINED, item[0][0], labels.index(item[0][1]))))


def numbers(runs: Iterable[Row], name: str) -> list[float]:
    """A measure of all runs that have it; of a run that was fine-tuned with several seeds, each."""
    found = [one["values"][name] for one in runs if name in one["values"]]
    return [number for value in found for number in (value if isinstance(value, list) else [value])]


def cell(known: list[float], decimals: int) -> str:
    """Mean and spread."""
    if not known:
        return "–"
    spread = f" ± {statistics.stdev(known):,.{decimals}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):,.{decimals}f}{spread}"


def measured(found: dict[Cell, list[Row]], names: Iterable[str]) -> list[str]:
    """Those of the measures that any run has."""
    return [name for name in names if any(name in one["values"] for runs in found.values() for one in runs)]


def markdown(found: dict[Cell, list[Row]], measures: dict[str, tuple[str, int]]) -> str:
    """A table: a line a recipe and encoder, a column a measure; nothing if no run has any of them."""
    if not (shown := measured(found, measures)):
        return ""
    lines = ["| recipe | encoder | seeds | steps | " + " | ".join(measures[name][0] for name in shown) + " |"]
    lines.append("|---|---|---:|---:|" + "---:|" * len(shown))
    for (recipe, label), runs in found.items():
        cells = [cell(numbers(runs, name), measures[name][1]) for name in shown]
        lines.append(f"| {recipe} | {label} | {len(runs)} | {runs[0]['steps']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(found: dict[Cell, list[Row]], labels: list[str], path: Path) -> None:
    """Every run of every recipe at its end, a panel a measure."""
    shown = measured(found, ENDS)
    recipes = list(dict.fromkeys(recipe for recipe, _ in found))
    across, apart = min(3, len(shown)), min(0.24, 0.7 / len(labels))
    down = -(-len(shown) // across)
    drawn = Figure(figsize=(10, 0.8 + (0.6 + 0.3 * len(recipes)) * down), layout="constrained")
    panels = drawn.subplots(down, across, squeeze=False, sharey=True)
    for panel, name in zip(panels.flat, shown, strict=False):
        for (recipe, label), runs in found.items():
            number = labels.index(label)
            values = numbers(runs, name)
            height = [recipes.index(recipe) + apart * (number - (len(labels) - 1) / 2)] * len(values)
            panel.plot(values, height, MARKS[number], color=COLOURS[number], alpha=0.8, label=label)
        panel.set_title(MEASURES[name][0], fontsize=10)
        panel.set_yticks(range(len(recipes)), recipes)
        panel.set_ylim(len(recipes) - 0.5, -0.5)
        panel.grid(axis="x", alpha=0.3)
        for line in range(0, len(recipes), 2):
            panel.axhspan(line - 0.5, line + 0.5, color="0.95", zorder=0)
    for panel in list(panels.flat)[len(shown) :]:
        panel.set_axis_off()
    handles = {line.get_label(): line for line in panels.flat[0].get_lines()}
    _legend(drawn, handles)
    drawn.savefig(path, dpi=110)


def curves(found: dict[Cell, list[Row]], labels: list[str], path: Path) -> None:
    """Held-out metrics against operations: the mean over seeds, and the band from the lowest to the highest."""
    recipes = [recipe for recipe in dict.fromkeys(recipe for recipe, _ in found) if recipe != UNTRAINED]
    drawn = Figure(figsize=(10, 4.2), layout="constrained")
    panels = drawn.subplots(1, len(WAYS), squeeze=False)[0]
    handles = {}
    for panel, (name, title) in zip(panels, WAYS.items(), strict=True):
        for (recipe, label), runs in found.items():
            seeds = [one["ways"][name] for one in runs if name in one["ways"]]
            if not seeds:
                continue
            x = [operations / 1e12 for operations in seeds[0][0]]
            points = list(zip(*(values for _, values in seeds), strict=True))
            look = {"color": COLOURS[recipes.index(recipe)], "linestyle": LINES[labels.index(label)]}
            (line,) = panel.plot(x, [statistics.mean(point) for point in points], **look)
            panel.fill_between(x, [*map(min, points)], [*map(max, points)], color=look["color"], alpha=0.15, lw=0)
            handles[f"{recipe}, {label}"] = line
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("10¹² operations")
        panel.grid(alpha=0.3)
    _legend(drawn, handles)
    drawn.savefig(path, dpi=110)


def _legend(drawn: Figure, handles: dict[Any, Any]) -> None:
    """Below the panels, in as many columns as the longest name leaves room for."""
    columns = max(1, min(4, 145 // (6 + max(map(len, handles), default=0))))
    drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def main() -> None:
    """Write OUT/runs.json, OUT/table.md, OUT/plot.png and OUT/curves.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="LABEL=STUDY")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    studies = {label: Path(folder) for label, _, folder in (word.partition("=") for word in chosen.studies)}
    if len(studies) > len(MARKS):
        parser.error(f"{len(studies)} studies; the plots tell {len(MARKS)} apart")
    rows = [
        row(path.parent, label) for label, study in studies.items() for path in sorted(study.glob(f"*-seed*/{FIGURES}"))
    ]
    if not rows:
        parser.error("no run of these studies has figures yet")
    found = gathered(rows, list(studies))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "runs.json").write_text("[\n" + ",\n".join(json.dumps(one) for one in rows) + "\n]\n")
    tables = markdown(found, PRETRAINING) + "\n" + markdown(found, JUDGED)
    (chosen.out / "table.md").write_text(tables)
    plot(found, list(studies), chosen.out / "plot.png")
    curves(found, list(studies), chosen.out / "curves.png")
    print(tables, end="")


if __name__ == "__main__":
    main()
