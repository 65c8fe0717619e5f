"""The table of several encoders' fine-tunings: python records/judged.py OUT/one OUT/other ... (folders of --out).

A task a line: the metric that counts, mean and standard deviation (n - 1) over seeds; a column an encoder. BLiMP too,
where `electrain blimp` wrote to the same folders.
"""

import argparse
import json
from pathlib import Path
from typing import Any

METRICS = {
    "accuracy": "accuracy",
    "spearman": "Spearman",
    "matthews": "Matthews",
    "f1": "F1",
    "best_f1": "best F1",
}


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def cell(summary: dict[str, Any] | None) -> str:
    """Mean and spread of the seeds, in points."""
    if summary is None:
        return "–"
    spread = "" if summary["sd"] is None else f" ± {100 * summary['sd']:.1f}"
    return f"{100 * summary['mean']:.1f}{spread}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    chosen = parser.parse_args()
    tasks = sorted({path.parent.name for folder in chosen.folders for path in folder.glob("*/summary.json")})
    print("| task | figure | seeds | " + " | ".join(folder.name for folder in chosen.folders) + " |")
    print("|---|---|---:|" + "---:|" * len(chosen.folders))
    for task in tasks:
        found = [folder / task / "summary.json" for folder in chosen.folders]
        summaries = [read(path) if path.exists() else None for path in found]
        known = next(summary for summary in summaries if summary)
        metric = METRICS.get(known["metric"], known["metric"])
        print(f"| {task} | {metric} | {len(known['runs'])} | " + " | ".join(map(cell, summaries)) + " |")
    judged = [[read(path) for path in sorted(folder.glob("*.json"))] for folder in chosen.folders]
    if any(judged):
        points = ["; ".join(f"{100 * one['accuracy']:.1f} by {one['by']}" for one in found) or "–" for found in judged]
        print("| BLiMP | accuracy | – | " + " | ".join(points) + " |")


if __name__ == "__main__":
    main()
