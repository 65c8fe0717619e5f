"""Is training in one number format the training in another, but for noise? Loss curves against those of other seeds.

    python records/precision.py --out FIGURES.json --runs bfloat16-0 --beside float32-0 float32-1 float32-2

Differences are of the windows of metrics.jsonl and of its evaluations, step by step. `same seed` has the same rows,
places and random numbers in both formats; `other seeds` is every pair of those in the second format.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from electrain.run import Record
from electrain.start import machine, versions

MEASURES = ("loss", "mlm_loss", "rtd_loss", "rtd_auc")

Curve = dict[tuple[str, int], dict[str, float]]


def curve(run: Path) -> Curve:
    """The lines of a run by kind and step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {(line["kind"], line["step"]): line for line in lines if "loss" in line}


def apart(one: Curve, other: Curve, name: str, kind: str) -> list[float]:
    """Differences of a measure, one minus other, in the order of the steps."""
    assert one.keys() == other.keys()
    return [one[at][name] - other[at][name] for at in sorted(one) if at[0] == kind]


def summed(pairs: Iterable[tuple[Curve, Curve]], name: str, kind: str) -> dict[str, float]:
    """Of all pairs: the root of the mean square, the largest, the mean with its sign, and the mean at the last step."""
    found = [apart(one, other, name, kind) for one, other in pairs]
    all_of = [value for values in found for value in values]
    return {
        "rms": statistics.fmean(value**2 for value in all_of) ** 0.5,
        "largest": max(map(abs, all_of)),
        "mean": statistics.fmean(all_of),
        "last": statistics.fmean(values[-1] for values in found),
    }


def main() -> None:
    """Print and write how far curves lie apart: formats with the same seed, and seeds in the same format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="run folders in the format in question")
    parser.add_argument("--beside", nargs="+", type=Path, required=True, help="run folders in the other, more seeds")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    seeds = {Record.load(run).run.seed: curve(run) for run in args.beside}
    same = [(curve(run), seeds[Record.load(run).run.seed]) for run in args.runs]
    others = list(itertools.combinations(seeds.values(), 2))
    figures = {
        f"{name}, {kind}": {"same seed": summed(same, name, kind), "other seeds": summed(others, name, kind)}
        for kind in ("train", "eval")
        for name in MEASURES
    }
    print(
        f"{'':<18}{'same seed, rms':>16}{'largest':>10}{'mean':>10}{'last':>10}{'other seeds, rms':>18}{'largest':>10}"
    )
    for name, found in figures.items():
        one, other = found["same seed"], found["other seeds"]
        print(
            f"{name:<18}{one['rms']:>16.4f}{one['largest']:>10.4f}{one['mean']:>10.4f}{one['last']:>10.4f}"
            f"{other['rms']:>18.4f}{other['largest']:>10.4f}"
        )
    told = {"runs": len(same), "seeds beside": len(seeds), "machine": machine(), "versions": versions()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(told | {"apart": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
