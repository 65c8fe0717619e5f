"""Encoders side by side: the table and the plot of several studies with the same operations and data.

    python records/encoders.py --out records/NAME "post-LN=STUDY" "modern=OTHER" ...

Every run's figures.json, and what `electrain blimp` and `electrain similarity` wrote into the run's folder. Mean and
standard deviation (n - 1) over seeds; the plot shows every run.
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from electrain.start import FIGURES
from electrain.study.conduct import UNTRAINED
from electrain.study.figures import Figures

# name: head, decimals
MEASURES = {
    "probe_moved": ("probe: moved", 3),
    "probe_swapped": ("probe: swapped", 3),
    "swap_auc": ("swap AUC", 3),
    "rtd_auc": ("own RTD AUC", 3),
    "own_mlm_loss": ("own MLM loss", 2),
    "own_mlm_accuracy": ("own MLM accuracy", 3),
    "blimp": ("BLiMP", 3),
    "similarity": ("STS-B Spearman", 3),
    "tokens_per_second": ("tokens/s", 0),
    "memory": ("peak MiB", 0),
}
PLOTTED = ("probe_moved", "probe_swapped", "own_mlm_loss", "rtd_auc", "blimp", "similarity")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind (Okabe and Ito)
MARKS = ("o", "s", "^", "D")


def figures(run: Path) -> tuple[str, int, dict[str, float]]:
    """Recipe, steps, and the measures that a run has."""
    own = Figures.load(run / FIGURES)
    found = {name: value for name in MEASURES if (value := getattr(own, name, None)) is not None}
    for path in run.glob("blimp/*.json"):
        found["blimp"] = json.loads(path.read_text())["accuracy"]
    for path in run.glob("similarity/*.json"):
        found["similarity"] = json.loads(path.read_text())["mean"]["spearman"]["value"]
    return own.recipe, own.steps, found


def gathered(studies: dict[str, Path]) -> dict[tuple[str, str], list[tuple[int, dict[str, float]]]]:
    """Runs by recipe and encoder, in the order of the recipes' names, the untrained first."""
    found: dict[tuple[str, str], list[tuple[int, dict[str, float]]]] = {}
    for label, study in studies.items():
        for path in sorted(study.glob(f"*/{FIGURES}")):
            recipe, steps, values = figures(path.parent)
            found.setdefault((recipe, label), []).append((steps, values))
    labels = list(studies)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != UNTRAINED, item[0][0], labels.index(item[0][1]))))


def cell(values: Iterable[float | None], decimals: int) -> str:
    """Mean and spread."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {statistics.stdev(known):,.{decimals}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):,.{decimals}f}{spread}"


def markdown(found: dict[tuple[str, str], list[tuple[int, dict[str, float]]]]) -> str:
    """The table."""
    shown = [name for name in MEASURES if any(name in values for runs in found.values() for _, values in runs)]
    lines = ["| recipe | encoder | seeds | steps | " + " | ".join(MEASURES[name][0] for name in shown) + " |"]
    lines.append("|---|---|---:|---:|" + "---:|" * len(shown))
    for (recipe, label), runs in found.items():
        cells = [cell((values.get(name) for _, values in runs), MEASURES[name][1]) for name in shown]
        lines.append(f"| {recipe} | {label} | {len(runs)} | {runs[0][0]:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(found: dict[tuple[str, str], list[tuple[int, dict[str, float]]]], labels: list[str], path: Path) -> None:
    """Every run of every recipe, a panel a measure."""
    shown = [name for name in PLOTTED if any(name in values for runs in found.values() for _, values in runs)]
    recipes = list(dict.fromkeys(recipe for recipe, _ in found))
    drawn = Figure(figsize=(10, 1.2 + 0.36 * len(recipes) * -(-len(shown) // 3)), layout="constrained")
    panels = drawn.subplots(-(-len(shown) // 3), min(3, len(shown)), squeeze=False, sharey=True)
    for panel, name in zip(panels.flat, shown, strict=False):
        for (recipe, label), runs in found.items():
            number = labels.index(label)
            values = [known[name] for _, known in runs if name in known]
            height = [recipes.index(recipe) + 0.24 * (number - (len(labels) - 1) / 2)] * len(values)
            panel.plot(values, height, MARKS[number], color=COLOURS[number], alpha=0.8, label=label)
        panel.set_title(MEASURES[name][0], fontsize=10)
        panel.set_yticks(range(len(recipes)), recipes)
        panel.set_ylim(len(recipes) - 0.5, -0.5)
        panel.grid(axis="x", alpha=0.3)
    for panel in list(panels.flat)[len(shown) :]:
        panel.set_axis_off()
    handles = {line.get_label(): line for line in panels.flat[0].get_lines()}
    drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    drawn.savefig(path, dpi=130)


def main() -> None:
    """Write OUT/table.md and OUT/plot.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="LABEL=STUDY")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    studies = {label: Path(folder) for label, _, folder in (word.partition("=") for word in chosen.studies)}
    found = gathered(studies)
    if not found:
        parser.error("no run of these studies has figures yet")
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "table.md").write_text(markdown(found))
    plot(found, list(studies), chosen.out / "plot.png")
    print(markdown(found), end="")


if __name__ == "__main__":
    main()
