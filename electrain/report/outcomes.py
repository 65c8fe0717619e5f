"""What fine-tunings and minimal pairs have said of the runs: every seed a dot, mean and spread in a table."""

import csv
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electrain.errors import UserError
from electrain.finetune.results import RESULTS, SETTINGS
from electrain.report.page import table
from electrain.report.styles import Style, style, swatch
from electrain.report.tags import Html, join, tag

_MEASURES = ("rtd", "pll", "both", "energy")  # ways of comparing pairs, by which `electrain blimp` names its files


@dataclass(frozen=True)
class Outcome:
    """A figure of one model, a share from 0 to 1 a seed. about: what is known of how it was made."""

    model: str
    task: str
    metric: str
    values: tuple[float, ...]
    about: str = ""


def found(folders: list[Path]) -> list[Outcome]:
    """The results in some folders and below them; a file that is damaged or of another kind is none.

    By their file names: OUT/TASK/results.jsonl, TASK.jsonl with lines of that kind, and NAME.json or NAME.csv of blimp.
    """
    outcomes: dict[Path, list[Outcome]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--results {folder}: there is no such folder; name one that finetune or blimp has written")
        for path in sorted(_below(folder)):
            if path.resolve() not in outcomes:
                outcomes[path.resolve()] = list(_of(path))
    return [one for several in outcomes.values() for one in several]


def _below(folder: Path) -> Iterator[Path]:
    """Files that may hold results; checkpoints, token files and exports are not looked into."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in ("checkpoints", "tokenizer", "model", "train", "validation") and not path.is_symlink():
                yield from _below(path)
        elif path.suffix in (".json", ".jsonl", ".csv"):
            yield path


def _of(path: Path) -> Iterator[Outcome]:
    try:
        if path.suffix == ".jsonl" and path.stat().st_size < 2**24:
            yield from _finetuned(path)
        elif path.stem.partition("-")[0] in _MEASURES and path.stat().st_size < 2**24:
            yield from _pairs(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _finetuned(path: Path) -> Iterator[Outcome]:
    lines = [json.loads(words) for words in path.read_bytes().splitlines() if words.strip()]
    results = {line["seed"]: line for line in lines}
    values = tuple(_share(line["value"]) for _, line in sorted(results.items()))
    if not values or len({line["metric"] for line in lines}) != 1:
        return
    own = path.name == RESULTS
    notes = _read(path.parent / SETTINGS) if own else {}
    fresh = isinstance(notes.get("settings"), dict) and notes["settings"].get("untrained") is True
    task, where = (path.parent.name, path.parent.parent) if own else (path.stem, path.parent)
    name = Path(notes["model"]).name if isinstance(notes.get("model"), str) else where.name
    command = notes.get("command") if isinstance(notes.get("command"), str) else ""
    yield Outcome(f"{name}, fresh weights" if fresh else name, task, str(lines[0]["metric"]), values, str(command))


def _pairs(path: Path) -> Iterator[Outcome]:
    if path.suffix == ".json":
        tree = _read(path)
        fresh = ", fresh weights" if tree["untrained"] is True else ""
        name = f"{Path(str(tree['model'])).name}{fresh}"
        yield Outcome(
            name, f"BLiMP, by {tree['by']}", "accuracy", (_share(tree["accuracy"]),), f"{tree['pairs']:,} pairs"
        )
    elif not path.with_suffix(".json").exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["level"] == "overall"]
        by = path.stem.partition("-")[0]
        about = f"{int(rows[0]['pairs']):,} pairs"
        yield Outcome(path.parent.name, f"BLiMP, by {by}", "accuracy", (_share(float(rows[0]["accuracy"])),), about)


def _read(path: Path) -> dict[str, Any]:
    tree = json.loads(path.read_bytes())
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds no object")
    return tree


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
        raise ValueError("not a share")
    return float(value)


def outcomes(known: list[Outcome], runs: list[str]) -> Html | None:
    """A table of tasks and models, mean ± standard deviation over seeds in points; None where there is nothing.

    runs: names of the runs on the page; a model of that name has the run's style
    """
    if not known:
        return None
    models = list(dict.fromkeys(one.model for one in known))
    names = list(dict.fromkeys([*runs, *models]))
    looks = {model: style(names.index(model)) for model in models}
    tasks = list(dict.fromkeys((one.task, one.metric) for one in known))
    rows: list[list[object]] = []
    for task, metric in tasks:
        cells: list[object] = [f"{task}: {metric}"]
        for model in models:
            here = [one for one in known if (one.model, one.task, one.metric) == (model, task, metric)]
            cells.append(join(*(tag("span", _mean(one), title=_every(one)) for one in here)) if here else "–")
        rows.append(cells)
    heads: list[object] = ["task", *(join(swatch(looks[model]), " ", model) for model in models)]
    return tag(
        "section",
        tag("h2", "Results"),
        table(heads, rows, "In points, mean ± standard deviation over seeds (n - 1). Point at a figure for each."),
        tag("div", *(_dots(task, metric, looks, known) for task, metric in tasks), class_="dots"),
    )


def _mean(one: Outcome) -> str:
    middle = f"{100 * statistics.fmean(one.values):.1f}"
    return middle if len(one.values) < 2 else f"{middle} ± {100 * statistics.stdev(one.values):.1f}"


def _every(one: Outcome) -> str:
    seeds = ", ".join(f"{100 * value:.1f}" for value in one.values)
    return f"{len(one.values)} run(s): {seeds}" + (f"; {one.about}" if one.about else "")


def _dots(task: str, metric: str, looks: dict[str, Style], known: list[Outcome]) -> Html | None:
    """A drawing: a row a model, a dot a seed, a bar at the mean; None for a single dot."""
    here = [one for model in looks for one in known if (one.model, one.task, one.metric) == (model, task, metric)]
    values = [value for one in here for value in one.values]
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    room = max(0.005, 0.06 * (high - low))
    low, high = low - room, high + room

    def at(value: float) -> float:
        return 20 + 280 * (value - low) / (high - low)

    marks = []
    for line, one in enumerate(here):
        look, y = looks[one.model], 14 + 18 * line
        marks += [tag("path", d=f"M20 {y}H300", class_="rule")]
        marks += [tag("circle", tag("title", f"{one.model}: {100 * value:.1f}"), cx=f"{at(value):.1f}", cy=y, r=5,
                      fill=look.colour, fill_opacity="0.55", stroke=look.colour) for value in one.values]  # fmt: skip
        mean = at(statistics.fmean(one.values))
        marks.append(tag("path", d=f"M{mean:.1f} {y - 8}V{y + 8}", stroke=look.colour, stroke_width=3))
    bottom = 14 + 18 * len(here)
    marks += [
        tag("text", f"{100 * value:.1f}", x=f"{at(value):.1f}", y=bottom + 6, text_anchor="middle")
        for value in (low + room, high - room)[: 1 if high - low <= 0.011 else 2]
    ]
    drawing = tag("svg", *marks, viewBox=f"0 0 320 {bottom + 10}", role="img", aria_label=f"{task}: every seed")
    return tag("figure", tag("figcaption", tag("h3", f"{task}: {metric}")), drawing)
