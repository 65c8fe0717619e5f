"""What a system made of a few held-out rows, taken from the forward pass of an evaluation: samples.jsonl.

A line an evaluation: {"step", "rows": [{"text", "read", "picked", "suspicion", "guess"}]}, the same rows and the same
draws every time. It costs no pass of its own, and nothing that is trained sees it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.encoders.head import MlmHead
from electrain.objectives.base import Objective, Scored
from electrain.systems.base import Pretraining

FILE = "samples.jsonl"
ROWS, LENGTH = 4, 64  # kept: at most so many rows of this process's first batch, and so many tokens of each


@contextmanager
def looking(system: Pretraining) -> Iterator[list[dict[str, Any]]]:
    """A list that the first forward pass inside fills: a dictionary a row.

    text       token ids as they stand in the corpus
    read       token ids that the encoder read
    picked     places that were selected
    suspicion  probability of "replaced" at every place, or None where the system judges no tokens
    guess      token ids that a masked LM finds likeliest at the selected places, or None where none is the objective

    A system of other parts than a corruptor and an objective gives nothing.
    """
    rows: list[dict[str, Any]] = []
    last: dict[type, Any] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        last[type(output)] = output  # of parts within parts the outer one comes last, of an encoder's exits the deepest

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        for hook in hooks:
            hook.remove()
        if isinstance(seen := last.get(Corrupted), Corrupted):
            rows.extend(_rows(inputs[0], seen, last.get(Scored), last.get(Tensor)))

    parts = [module for module in system.modules() if isinstance(module, Corruptor | Objective)]
    heads = [head for part in parts if isinstance(part, Objective) for head in part.modules() if type(head) is MlmHead]
    hooks = [module.register_forward_hook(keep) for module in (*parts, *heads)]
    hooks.append(system.register_forward_hook(end))
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def _rows(batch: Batch, seen: Corrupted, scored: Scored | None, words: Tensor | None) -> Iterator[dict[str, Any]]:
    """words: logits (b, k, v) of a masked LM at the selected places; others are not looked at."""
    logits = None if scored is None else scored.logits
    slots = tuple(seen.picked.index.shape)
    guessed = words.argmax(-1) if words is not None and tuple(words.shape[:-1]) == slots else None
    for row in range(min(ROWS, len(batch.ids))):
        size = min(LENGTH, int(batch.real[row].sum()))
        places = seen.picked.index[row]
        there = seen.picked.valid[row] & (places < size)
        yield {
            "text": batch.ids[row, :size].tolist(),
            "read": seen.ids[row, :size].tolist(),
            "picked": places[there].tolist(),
            "suspicion": None if logits is None else _shares(logits[row, :size]),
            "guess": None if guessed is None else guessed[row][there].tolist(),
        }


def _shares(logits: Tensor) -> list[float | None]:
    """Probabilities in thousandths; None for what is not a number."""
    values = torch.sigmoid(logits.float())
    return [round(value, 3) if value == value else None for value in values.tolist()]
