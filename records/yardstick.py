"""The yardstick of `electrain study`, for runs made by hand: python records/yardstick.py --data DATA --out FILE RUN ...

Writes JSON: for every run its recipe, seed, steps, the figures on held-out text that is damaged alike for all, and what
it said of its own held-out evaluations.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from electrain.data.shards import Shards
from electrain.hub.average import last_of, load_mean
from electrain.hub.export import checkpoint_of
from electrain.run import Record
from electrain.study.figures import yardstick

OWN = ("mlm_loss", "mlm_accuracy", "rtd_loss", "rtd_auc", "replaced")


def measured(out: Path, data: Path, rows: int, average: int) -> dict[str, Any]:
    """Figures of a run's last checkpoint, or of the mean of its last ones."""
    record = Record.load(out)
    run = record.run
    system = run.system.build(Shards.open(data).vocab)
    paths = last_of(out, checkpoint_of(out, "latest", print), average, print)
    load_mean(system, paths)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    own = [{name: line[name] for name in ("step", *OWN) if name in line} for line in lines if line["kind"] == "eval"]
    return {
        "recipe": run.recipe, "encoder": type(run.system.encoder).__qualname__, "seed": run.seed, "steps": run.steps,
        "averaged": [path.name for path in paths], **yardstick(system, data, run, rows), "held_out": own,
        "machine": record.machine, "versions": record.versions,
    }  # fmt: skip


def main() -> None:
    """Write the figures of every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--average", type=int, default=1, help="last checkpoints whose mean is judged")
    parser.add_argument("--rows", type=int, default=1024, help="held-out rows")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    found = {run.name: measured(run, chosen.data, chosen.rows, chosen.average) for run in chosen.runs}
    chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    for name, figures in found.items():
        said = [
            f"{key} {figures[key]:.3f}"
            for key in ("mlm_loss", "swap_auc", "probe_swapped", "probe_moved")
            if figures[key]
        ]
        print(name, "  ".join(said))


if __name__ == "__main__":
    main()
