"""What a person can choose about the small verbs; the docstring under a field is its help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SizeName = Literal[
    "own", "tiny", "small", "base", "large", "modern-tiny", "modern-small", "modern-base", "modern-large"
]
OptimizerName = Literal["own", "adam", "muon"]


@dataclass(frozen=True)
class Quickstart:
    """Prepare the built-in corpus, train electra_tiny on it, evaluate, export, reload, and show what it noticed."""

    out: Path = Path("runs/quickstart")
    """Folder for the data, the run and the exported models."""


@dataclass(frozen=True)
class Pretrain:
    """Train a recipe; every field of the run is an option. On a folder with a run in it, go on with that run."""

    data: Path
    """Folder that `electrain prepare` made."""
    out: Path
    """Folder of the run: run.json, metrics.jsonl, checkpoints, tokenizer."""
    size: SizeName = "own"
    """Size that the recipe is made for, with its batch, steps and learning rate; own is the published one."""
    optimizer: OptimizerName = "own"
    """Optimizer, with the recipe's learning rate and schedule; muon: for the matrices of layers, AdamW for the rest."""
    start_from: str = ""
    """Start a new run from a transformers ELECTRA discriminator, BERT or ModernBERT: a folder or a Hub name."""
    start_generator: str = ""
    """The generator to start from; without it the generator's own layers start fresh."""


@dataclass(frozen=True)
class Flops:
    """Parameters, operations and memory, counted the paper's way and the plain way."""

    vocab_size: int = 30522
    """Rows of the token table."""
    size: SizeName = "own"
    """Size that the recipe is made for; own is the published one."""


@dataclass(frozen=True)
class Export:
    """Write a folder that transformers loads, with its tokenizer and a model card."""

    run: Path
    """Folder of the run."""
    out: Path
    """Folder to make."""
    part: Literal["auto", "discriminator", "generator", "bert"] = "auto"
    """Which network; auto takes the one that the run is for."""
    checkpoint: str = "latest"
    """latest, best (lowest held-out loss), or a step."""
    average: int = 1
    """Mean of the weights of so many checkpoints, that one the last of them (train with --keep as many)."""
    push_to_hub: str = ""
    """Also upload to this name on the Hugging Face Hub, as the user who is logged in."""
    code: Path | None = None
    """The Python file of your own recipe, where the run was made from one."""
