"""Results of fine-tunings: a line a seed, appended; a summary over the seeds; settings that hold for all of them."""

import json
import statistics
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from electrain.errors import UserError, reason
from electrain.files import sync, write

SETTINGS, RESULTS, SUMMARY = "task.json", "results.jsonl", "summary.json"


@dataclass(frozen=True)
class Result:
    """One fine-tuning.

    scores: by split and name, shares from 0 to 1
    loss:   mean of the last training steps
    """

    seed: int
    metric: str
    value: float
    scores: dict[str, dict[str, float]]
    loss: float
    steps: int
    examples_per_second: float


class Results:
    """The folder of one task: task.json, results.jsonl, summary.json.

    UserError if it holds results, or checkpoints, made with other settings, another model or other data. A fine-tuning
    that failed before it left any gives its place to another.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], notes: dict[str, Any]):
        self.folder = folder
        path = folder / SETTINGS
        there = read(path) if path.exists() else None
        if there is not None:
            there = there.get("settings") if isinstance(there, dict) else None
            if not isinstance(there, dict):
                raise UserError(f"{path}: holds no settings; restore it, or choose another --out")
        settings = json.loads(json.dumps(settings))
        if there is not None and there != settings and (self.done() or any(folder.glob("seed-*/checkpoints/step-*"))):
            names = sorted(name for name in {*there, *settings} if there.get(name) != settings.get(name))
            what = "; ".join(f"{name}: {there.get(name)} there, {settings.get(name)} now" for name in names)
            raise UserError(f"{folder}: holds fine-tunings with other settings ({what}); choose another --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
        if there is None and any(path.name[0] != "." for path in folder.iterdir()):
            raise UserError(f"{folder}: holds other files; choose an empty or a new folder for --out")
        if there != settings:
            write(path, (json.dumps({"settings": settings, **notes}, indent=2) + "\n").encode())

    def done(self) -> dict[int, Result]:
        """The results so far, by seed. A line that was cut short by a crash does not count.

        UserError for one that is whole and no result.
        """
        path = self.folder / RESULTS
        found: dict[int, Result] = {}
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); restore it") from error
        for number, line in enumerate(lines, 1):
            try:
                tree = json.loads(line)
            except (ValueError, RecursionError):
                continue
            first = next(iter(found.values()), None)
            if not _is_result(tree, first):
                raise UserError(f"{path}, line {number}: no result of a fine-tuning like the others; take it out")
            found[tree["seed"]] = Result(**tree)
        return dict(sorted(found.items()))

    def add(self, result: Result) -> None:
        """Append a result and bring the summary up to date."""
        path = self.folder / RESULTS
        try:
            whole = not path.exists() or path.read_bytes()[-1:] in (b"\n", b"")
            with path.open("a", encoding="utf-8") as file:
                file.write(("" if whole else "\n") + json.dumps(vars(result)) + "\n")
            sync(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); what was there is unchanged") from error
        write(self.folder / SUMMARY, (json.dumps(self.summary(), indent=2) + "\n").encode())

    def summary(self) -> dict[str, Any]:
        """By split and metric: median, mean, standard deviation, every run; and the task's own metric."""
        results = list(self.done().values())
        splits: dict[str, dict[str, Any]] = {}
        for split, scores in results[0].scores.items():
            splits[split] = {name: spread([result.scores[split][name] for result in results]) for name in scores}
        own = spread([result.value for result in results])
        return {"metric": results[0].metric, **own, "seeds": [result.seed for result in results], "splits": splits}


def _is_result(tree: Any, first: Result | None) -> bool:
    """Whether a line of JSON holds a `Result`, of the same splits and figures as the first one."""
    if not isinstance(tree, dict) or tree.keys() != {item.name for item in fields(Result)}:
        return False
    scores = tree["scores"]
    numbers = [tree["value"], tree["examples_per_second"]]
    if not isinstance(scores, dict) or not all(isinstance(part, dict) for part in scores.values()):
        return False
    numbers += [value for part in scores.values() for value in part.values()]
    return (
        all(type(tree[name]) is int for name in ("seed", "steps"))
        and isinstance(tree["metric"], str)
        and isinstance(tree["loss"], int | float)  # which may be NaN
        and all(type(number) in (int, float) and abs(number) < 2**500 for number in numbers)
        and (first is None or {k: set(v) for k, v in scores.items()} == {k: set(v) for k, v in first.scores.items()})
    )


def spread(values: list[float]) -> dict[str, Any]:
    """Median, mean and sample standard deviation (null for one run) of several runs, and the runs."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "sd": deviation,
        "runs": values,
    }


def read(path: Path) -> Any:
    """A JSON file. UserError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); restore it, or choose another --out") from error
