"""Draws a run's curves from its metrics.jsonl: python records/curves.py RUN --out curves.png (needs matplotlib)."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = (
    ("mlm_loss", "generator: masked-LM loss (nats)"),
    ("rtd_loss", "discriminator: RTD loss (nats)"),
    ("rtd_auc", "discriminator: AUC on the generator's samples"),
    ("replaced", "share of tokens really replaced"),
    ("mlm_accuracy", "generator: masked-LM accuracy"),
    ("tokens_per_second", "tokens a second"),
)


def main() -> None:
    """Six panels: training as a line, held-out rows as dots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    lines = [json.loads(line) for line in (chosen.run / "metrics.jsonl").read_text().splitlines()]
    figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, PANELS, strict=True):
        for kind, style in (("train", "-"), ("eval", "o")):
            points = [
                (line["step"], line[name]) for line in lines if line["kind"] == kind and line.get(name) is not None
            ]
            if points:
                axis.plot(*zip(*points, strict=True), style, label={"train": "training", "eval": "held out"}[kind])
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.savefig(chosen.out, dpi=80)


if __name__ == "__main__":
    main()
