"""A small corpus, the commands on it at tiny sizes, and when two of their outcomes are the same."""

import json
import random
import shlex
import shutil
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from .process import Command

_CLOCK = {"tokens_per_second", "data_wait", "examples_per_second", "seconds", "memory", "command"}  # no two share them
_COMPUTE = shlex.split("--compute.compile False --compute.device cpu --compute.dtype float32 --compute.threads 1")
_TINY = shlex.split("""
    --batch 8 --length 16 --optim.warmup 10 --system.encoder.layers 1 --system.encoder.hidden 96
    --system.encoder.ffn 64 --system.encoder.heads 2 --system.encoder.embedding 48 --system.encoder.positions 16
    --system.encoder.attention-start normal
""")
_WORDS = shlex.split("the a of and to in is was for on with as by at from it an be this that")


class Outcome(NamedTuple):
    """Of one case. `lost`: what went wrong, a line each; `skipped`: why it was not tried."""

    tries: int
    lost: list[str]
    notes: dict[str, Any] = {}  # noqa: RUF012 - never changed
    skipped: str = ""


class World:
    """Works in `folder`; `random` decides every instant and every bit."""

    def __init__(self, folder: Path, seed: int = 0):
        self.folder, self.random, self.number = folder, random.Random(seed), 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)

    # --- commands

    def start(self, words: list[str], largest: int | None = None, environment: dict[str, str] | None = None) -> Command:
        """Begin a command of electrain."""
        self.number += 1
        return Command(words, self.folder / "logs" / f"{self.number:05d}.txt", largest, environment)

    def call(self, words: list[str], largest: int | None = None) -> tuple[int, str]:
        """Exit code of a command, and what it said."""
        running = self.start(words, largest)
        return running.wait(), running.said

    def timed(self, words: list[str]) -> float:
        """Seconds of a command that has to succeed, without what the first process takes longer."""
        self.made(["recipes"])
        began = time.monotonic()
        self.made(words)
        return time.monotonic() - began

    def made(self, words: list[str]) -> None:
        """A command that has to succeed, for there is nothing to try otherwise."""
        code, said = self.call(words)
        if code:
            raise RuntimeError(f"{' '.join(words)}: exit code {code}: {said[-500:]}")

    def pretrain(self, out: Path, steps: int = 60, *options: object, data: Path | None = None) -> list[str]:
        """The words of a run that saves every five steps and logs every seven."""
        words = ["pretrain", "electra_tiny", "--data", data or self.data, "--out", out, "--steps", steps, *_TINY]
        words += ["--save-every", 5, "--keep", 3, "--eval-every", 30, "--eval-rows", 16, "--log-every", 7]
        return [str(word) for word in [*words, *_COMPUTE, *options]]

    def prepare(self, out: Path, workers: int = 1) -> list[str]:
        """Four tasks, one a file, so that there is something to go on with."""
        words = ["prepare", "--corpus", *self.corpus, "--documents", "blank-lines", "--vocab-size", 300, "--out", out]
        return [str(word) for word in [*words, "--validation", 0.1, "--workers", workers]]

    def cache(self, out: Path) -> list[str]:
        """The proposals of the run `self.generator`."""
        words = ["cache", self.generator, "--data", self.data, "--out", out, "--length", 16, "--top-k", 16]
        return [str(word) for word in [*words, "--selections", 2, "--batch", 16, *_COMPUTE]]

    def finetune(self, out: Path) -> list[str]:
        """Two seeds of a table; checkpoints as often as can be."""
        words = ["finetune", "classify", "--model", self.generator, "--data", self.table, "--out", out, "--seeds", 2]
        words += ["--epochs", 3, "--batch", 16, "--length", 16, "--save-minutes", 0.002]
        return [str(word) for word in [*words, *_COMPUTE]]

    def study(self, out: Path) -> list[str]:
        """One recipe and the untrained baseline."""
        words = ["study", "ladder", "--data", self.data, "--out", out, "--recipes", "bert", "--seeds", 1]
        return [str(word) for word in [*words, "--steps", 8, "--rows", 20, *_COMPUTE]]

    # --- what they work on

    @cached_property
    def corpus(self) -> list[Path]:
        """Sentences of made-up words: four files of 150 documents."""
        draw = random.Random(1)
        stems = ["".join(draw.choices("bdfgklmnprstv", k=1) + draw.choices("aeiou", k=1)) for _ in range(60)]
        nouns = ["".join(draw.choices(stems, k=draw.randint(2, 3))) for _ in range(150)]

        def document() -> str:
            return " ".join(draw.choice(draw.choice((_WORDS, nouns))) for _ in range(draw.randint(20, 60)))

        paths = [self.folder / f"corpus{number}.txt" for number in range(4)]
        for path in paths:
            path.write_text("\n\n".join(document() for _ in range(150)) + "\n")
        return paths

    @cached_property
    def table(self) -> Path:
        """Texts with two labels."""
        path = self.folder / "table.csv"
        texts = [line for line in self.corpus[0].read_text().splitlines() if line]
        rows = [f'"{" ".join(text.split()[:12])}",{"yes" if "the" in text.split()[:12] else "no"}' for text in texts]
        path.write_text("text,label\n" + "\n".join(rows) + "\n")
        return path

    @cached_property
    def data(self) -> Path:
        """What `prepare` makes of the corpus."""
        if not (self.folder / "data" / "manifest.json").exists():
            self.made(self.prepare(self.folder / "data"))
        return self.folder / "data"

    @cached_property
    def other_data(self) -> Path:
        """The same corpus with another tokenizer, and other documents held out."""
        out = self.folder / "other-data"
        if not (out / "manifest.json").exists():
            words = self.prepare(out)
            for option, value in (("--vocab-size", "310"), ("--validation", "0.2")):
                words[words.index(option) + 1] = value
            self.made(words)
        return out

    @cached_property
    def generator(self) -> Path:
        """A run of ten steps."""
        if not (self.folder / "generator" / "checkpoints").exists():
            self.made(self.pretrain(self.folder / "generator", 10))
        return self.folder / "generator"

    def fresh(self, name: str) -> Path:
        """A folder that is not there."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def one_line(said: str) -> str:
    """The line of an error that the command line has answered for; "" if there is not exactly one, or a traceback."""
    lines = [line for line in said.splitlines() if line.startswith(("electrain: ", "electrain (process "))]
    return lines[0] if len(lines) == 1 and "Traceback" not in said else ""


def last(out: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((out / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))


def metrics(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock decides."""
    return [_timeless(json.loads(line)) for line in (out / "metrics.jsonl").read_text().splitlines()]


def differing(whole: Path, other: Path) -> str:
    """How a run differs from one that nothing was done to: weights, optimizer, state, metrics; "" if in nothing."""
    one, two = last(whole), last(other)
    if one.name != two.name:
        return f"ends at {two.name}"
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        if (one / name).read_bytes() != (two / name).read_bytes():
            return f"another {name}"
    if metrics(whole) != metrics(other):
        steps = [line["step"] for line in metrics(other) if line["kind"] == "train"]
        return f"other metrics (steps {steps})"
    return ""


def contents(folder: Path) -> Iterator[tuple[str, object]]:
    """Every file by its name, JSON without what a clock decides; tables and pictures of such figures are left out."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.suffix in (".log", ".png", ".csv", ".md") or path.name.startswith("."):
            continue
        if path.suffix in (".json", ".jsonl"):
            lines = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
            yield name, [_timeless(json.loads(line)) for line in lines]
        else:
            yield name, path.read_bytes()


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _timeless(value) for name, value in tree.items() if name not in _CLOCK}
    return [_timeless(value) for value in tree] if isinstance(tree, list) else tree
