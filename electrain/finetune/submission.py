"""Predictions in the format that GLUE's server takes: a tsv a test set, index and prediction."""

from collections.abc import Sequence
from pathlib import Path

from electrain import files
from electrain.finetune.official import Spec

SECTIONS = {"matched": "m", "mismatched": "mm"}  # of MNLI, as its submissions are called


def submit(spec: Spec, split: str, index: Sequence[str], answers: Sequence[str], folder: Path) -> Path:
    """Write CoLA.tsv, MNLI-mm.tsv and so on (of a split other than a test set: CoLA.dev.tsv); returns the file."""
    kind, _, section = split.partition("_")
    name = spec.title + (f"-{SECTIONS[section]}" if section else "") + ("" if kind == "test" else f".{kind}")
    path = folder / f"{name}.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["index\tprediction", *(f"{row}\t{answer}" for row, answer in zip(index, answers, strict=True))]
    files.write(path, ("\n".join(lines) + "\n").encode())
    return path
