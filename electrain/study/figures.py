"""What a finished run is worth and what it cost, in figures that can be laid beside those of other systems."""

import json
import statistics
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, Selection, gather, select
from electrain.corruptors.base import Corrupted
from electrain.corruptors.generator import Generator
from electrain.corruptors.masking import mask
from electrain.data import frequencies
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, masked_lm
from electrain.errors import UserError, reason
from electrain.files import write
from electrain.judge import unigram_swap
from electrain.metrics import Metrics, add, read
from electrain.objectives.base import Objective
from electrain.objectives.electric import Electric
from electrain.probe import Moved, Swapped, area, probe
from electrain.run import Run
from electrain.start import FIGURES, FIRST
from electrain.systems.base import Pretraining
from electrain.vocab import Vocab

RATE = 0.15
_BATCH = 32


@dataclass(frozen=True)
class Figures:
    """One run of a study; None where the system has no such thing. The docstrings head the table's legend."""

    recipe: str
    """Name of the recipe; "untrained" is joint ELECTRA's encoder with fresh weights, or the first
    named recipe's."""
    seed: int
    """Seed of weights, order of the data and all draws."""
    steps: int = 0
    """Updates of the weights, of a stage before counted in."""
    tokens: int = 0
    """Tokens read in training, of a stage before counted in."""
    operations: float = 0.0
    """Training operations, 2mnk a matrix product, of a stage before counted in."""
    tokens_per_second: float | None = None
    """Tokens a second, by the median window of the log; of a stage before counted in."""
    memory: float | None = None
    """Peak memory in MiB: of the GPU, or of the whole process on a CPU."""
    replaced: float | None = None
    """Share of the tokens that were replaced, mean over training."""
    rtd_auc: float | None = None
    """Own samples, held out: area under the ROC curve of replaced against original."""
    rtd_accuracy: float | None = None
    """Own samples, held out: accuracy of calling a token replaced or original."""
    rtd_loss: float | None = None
    """Own samples, held out: cross-entropy of that verdict."""
    own_mlm_accuracy: float | None = None
    """Own masks, held out: accuracy of the system's masked LM, a generator's where it has one."""
    own_mlm_loss: float | None = None
    """Own masks, held out: cross-entropy of that masked LM."""
    swap_auc: float | None = None
    """The same text for all, 15 % of the tokens exchanged by frequency: area under the ROC curve of the verdicts."""
    mlm_accuracy: float | None = None
    """The same text for all, 15 % of the tokens [MASK]: accuracy of the encoder's own masked LM. Replace MLM,
    All-Tokens MLM and COCO-LM never read [MASK] in training: for them it is text of another kind than their own."""
    mlm_loss: float | None = None
    """The same text for all: cross-entropy of the encoder's own masked LM."""
    probe_swapped: float | None = None
    """Frozen encoder, linear probe: area under the ROC curve of swapped against original (probe.py)."""
    probe_moved: float | None = None
    """Frozen encoder, linear probe: area under the ROC curve of tokens that changed places with a neighbour."""

    def save(self, folder: Path) -> None:
        """Write FOLDER/figures.json, whole or not at all."""
        write(folder / FIGURES, (json.dumps(vars(self), indent=1) + "\n").encode())

    @staticmethod
    def load(path: Path) -> "Figures":
        """Read a figures.json. UserError if it is none."""
        try:
            tree = json.loads(path.read_text())
            made = Figures(**{item.name: tree[item.name] for item in fields(Figures)})
            numbers = [value for name, value in vars(made).items() if name != "recipe" and value is not None]
            if not isinstance(made.recipe, str) or not all(type(value) in (int, float) for value in numbers):
                raise ValueError("its fields are not what they must be")
            return made
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read ({reason(error)}); delete it, and it is made again") from error


def counted(run: Run, out: Path) -> dict[str, Any]:
    """Steps, tokens, speed and replaced share, from the logs of a run and of the stages before it."""
    lines = _log(out)
    trained = [line for line in lines if line["kind"] == "train"]
    tokens = run.tokens(run.steps)
    speed = statistics.median(line["tokens_per_second"] for line in trained)
    steps, seconds = run.steps, tokens / speed
    if run.first is not None:
        before = counted(run.first, out / FIRST)
        steps, tokens = steps + before["steps"], tokens + before["tokens"]
        seconds += before["tokens"] / before["tokens_per_second"]
    sizes = np.diff([0, *(line["step"] for line in trained)])  # the last window may be shorter
    shares = [(line["replaced"], size) for line, size in zip(trained, sizes, strict=True) if line.get("replaced")]
    share = sum(a * b for a, b in shares) / sum(b for _, b in shares) if shares else None
    held_out = next((line for line in reversed(lines) if line["kind"] == "eval"), {})
    own = {name: held_out.get(name) for name in ("rtd_auc", "rtd_accuracy", "rtd_loss")}
    own |= {f"own_{name}": held_out.get(name) for name in ("mlm_accuracy", "mlm_loss")}
    return {"steps": steps, "tokens": tokens, "tokens_per_second": tokens / seconds, "replaced": share, **own}


def _log(out: Path) -> list[dict[str, Any]]:
    """The lines of a finished run's log. UserError if it is missing or damaged."""
    path, lines = out / "metrics.jsonl", []
    try:
        for number, text in enumerate(path.read_bytes().splitlines(), 1):
            line = json.loads(text)
            needed = ("step", "tokens_per_second") if line["kind"] == "train" else ("step",)
            if not all(_positive(line[name]) for name in needed) or not _positive(line.get("replaced") or 1):
                raise ValueError(f"line {number} is none of ours")
            lines.append(line)
        if not any(line["kind"] == "train" for line in lines):
            raise ValueError("no step of training is in it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); restore it, or delete the run's folder") from error
    return lines


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < 2**53


class HeldOut(NamedTuple):
    """Held-out text to judge on: its loader, how many rows of it, and how often each token was counted in training."""

    loader: Loader
    rows: int
    counts: Float[Tensor, " v"]


def held_out(data: Path, run: Run, rows: int, device: torch.device) -> HeldOut:
    """Held-out text packed as in the run, `rows` rows at most; special tokens are counted as none."""
    shards = Shards.open(data, "validation")
    packing = run.packing.build(shards, run.length)
    rows = min(rows, packing.rows)
    counts = torch.from_numpy(frequencies.load(data)).double().to(device)
    counts[list(shards.vocab.special)] = 0
    return HeldOut(Loader(packing, shards.vocab, batch=max(1, min(_BATCH, rows // 2)), seed=1), rows, counts)


@torch.no_grad()
def yardstick(system: Pretraining, data: Path, run: Run, rows: int) -> dict[str, Any]:
    """Figures on held-out text that is damaged alike for every system, in float32, over `rows` rows."""
    device = system.encoder.tokens.weight.device
    text = held_out(data, run, rows, device)
    loader = text.loader
    system.eval()
    head, metrics = _masked_lm_head(system), None
    scores, labels = [], []
    for number in range(text.rows // loader.batch):
        for batch in loader.step(number):
            there = batch.map(lambda tensor: tensor.to(device))
            if (verdict := _verdict(system, there, text.counts)) is not None:
                scores.append(verdict[0].cpu())
                labels.append(verdict[1].cpu())
            if head is not None:
                metrics = add(metrics, _masked(system, head, there, loader.vocab))
    found: dict[str, Any] = {"swap_auc": _area(scores, labels) if scores else None}
    found |= {name: None if metrics is None else read(metrics)[name] for name in ("mlm_accuracy", "mlm_loss")}
    return found | probes(system.encoder, text)


@torch.no_grad()
def probes(encoder: Encoder, text: HeldOut) -> dict[str, Any]:
    """Both linear probes of an encoder."""
    encoder.eval()
    return {
        "probe_swapped": probe(encoder, text.loader, text.rows, Swapped(text.counts)),
        "probe_moved": probe(encoder, text.loader, text.rows, Moved()),
    }


def _area(scores: list[Tensor], labels: list[Tensor]) -> float | None:
    label = torch.cat(labels)
    return area(torch.cat(scores).numpy(), label.numpy()) if 0 < int(label.sum()) < len(label) else None


def _verdict(system: Pretraining, batch: Batch, counts: Float[Tensor, " v"]) -> tuple[Tensor, Tensor] | None:
    """Logits and labels of the real tokens of swapped text; None where the system judges no tokens."""
    objective = getattr(system, "objective", None)
    if not isinstance(objective, Objective):
        return None
    ids, replaced = unigram_swap(batch, RATE, counts)
    picked = select(batch, RATE)
    proposal = ((counts + 1) / (counts + 1).sum()).log().float()[ids]
    seen = Corrupted(ids, picked, replaced, None, torch.zeros((), device=ids.device), {}, proposal)
    hidden = system.encoder(ids, batch.real, batch.segments)
    if isinstance(objective, Electric):  # its verdict on a token that was drawn by its frequency, to a constant
        logits = objective.head(hidden) + proposal
    else:
        logits = objective(hidden, seen, batch, system.encoder).logits
    return None if logits is None else (logits[batch.real].float(), replaced[batch.real])


def _masked_lm_head(system: Pretraining) -> MlmHead | None:
    """The masked-LM head that reads the encoder itself; a generator's own encoder is another."""
    heads = [module for module in system.split().head.modules() if isinstance(module, MlmHead)]
    shared = [module.head for module in system.modules() if isinstance(module, Generator) and module.encoder is None]
    return (heads + shared or [None])[0]


def _masked(system: Pretraining, head: MlmHead, batch: Batch, vocab: Vocab) -> Metrics:
    picked: Selection = select(batch, RATE)
    ids = mask(batch, picked, vocab, masked=1.0, random=0.0)
    hidden = system.encoder(ids, batch.real, batch.segments)
    logits = head(gather(hidden, picked.index), system.encoder.tokens.weight)
    return masked_lm(logits, batch.ids.gather(1, picked.index), picked.valid)[2]
