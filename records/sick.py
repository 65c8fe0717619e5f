"""Draws the guide's sick runs beside the healthy one: python records/sick.py --out docs/curves (needs matplotlib).

records/sick/NAME.jsonl are the runs' metrics.jsonl; what made each is in records/sick/README.md.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent / "sick"
LABELS = {
    "mlm_loss": "generator's loss (nats)",
    "rtd_auc": "discriminator's AUC",
    "rtd_loss": "discriminator's loss (nats)",
    "replaced": "share of tokens replaced",
    "generator_entropy": "generator's entropy (nats)",
    "grad_norm": "gradient norm",
}
SHOWN = {
    "healthy": ("mlm_loss", "rtd_auc", "replaced"),
    "high": ("rtd_auc", "rtd_loss", "grad_norm"),
    "strong": ("rtd_auc", "rtd_loss", "replaced"),
    "unigram": ("mlm_loss", "generator_entropy", "rtd_auc"),
    "narrow": ("generator_entropy", "rtd_auc", "replaced"),
    "nowarm": ("mlm_loss", "rtd_auc", "grad_norm"),
    "repeat": ("mlm_loss", "rtd_loss", "rtd_auc"),
}
COLOURS = {"healthy": "#0072B2", "sick": "#D55E00"}  # told apart by the colour-blind


def read(name: str) -> list[dict[str, float]]:
    """The lines of a run."""
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


def draw(name: str, out: Path) -> None:
    """Three panels: training as a line, held-out rows as dots; the healthy run behind, as far as this one goes."""
    runs = {"healthy": read("healthy")} | ({} if name == "healthy" else {"sick": read(name)})
    end = max(line["step"] for line in runs[next(reversed(runs))])
    plt.rcParams |= {"svg.hashsalt": name, "svg.fonttype": "none"}  # the same file each time, its text as text
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.5), constrained_layout=True)
    for axis, metric in zip(axes, SHOWN[name], strict=True):
        for kind, lines in runs.items():
            for part, style in (("train", "-"), ("eval", "o")):
                points = [
                    (line["step"], line[metric])
                    for line in lines
                    if line["kind"] == part and line.get(metric) is not None and line["step"] <= end
                ]
                if points and not (part == "eval" and kind == "healthy" and name != "healthy"):
                    label = f"{kind}, {'training' if part == 'train' else 'held out'}" if name != "healthy" else part
                    axis.plot(*zip(*points, strict=True), style, color=COLOURS[kind], markersize=4, label=label)
        axis.set_title(LABELS[metric], fontsize=10)
        axis.set(xlabel="step", xlim=(0, 1.03 * end))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7, labels=["training", "held out"] if name == "healthy" else None)
    figure.savefig(out / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Draw every run that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    for name in SHOWN:
        if (HERE / f"{name}.jsonl").exists():
            draw(name, chosen.out)


if __name__ == "__main__":
    main()
