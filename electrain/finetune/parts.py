"""What sentence tasks share: splits of texts with a class or a number a row, encoded once, read by one head."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Shaped

from electrain.encoders.base import Encoder
from electrain.finetune.heads import Classifier, Kind, Regressor
from electrain.finetune.metrics import stacked
from electrain.finetune.task import Head, Predictions, Task
from electrain.finetune.texts import Rows, core_of, encode
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Part(NamedTuple):
    """A split as it was read.

    texts    one or two columns
    targets  (rows, 1) int64 classes, or float32 numbers scaled to 0 .. 1; zeros where there is no answer
    index    what the file calls each row
    gold     (rows,) the answers as the file has them, in the labels' own unit (classes: as `targets`)
    """

    texts: tuple[list[str], ...]
    targets: Shaped[np.ndarray, "r 1"]
    index: list[str]
    gold: Shaped[np.ndarray, " r"]


def joined(parts: Sequence[Part]) -> Part:
    """Parts of one split, one after another."""
    texts = tuple(
        [text for column in columns for text in column] for columns in zip(*(p.texts for p in parts), strict=True)
    )
    targets, gold = (np.concatenate([getattr(part, name) for part in parts]) for name in ("targets", "gold"))
    return Part(texts, targets, [name for part in parts for name in part.index], gold)


class TextTask(Task):
    """A task over one or two texts a row.

    parts   the splits
    notes   what was understood of the files, and what was left out
    """

    def __init__(self, name: str, tokenizer: "PreTrainedTokenizerFast", vocab: Vocab, length: int, kind: Kind):
        self.name, self.length = name, length
        self.kind: Kind = kind
        self.core = core_of(tokenizer, vocab)
        self.parts: dict[str, Part] = {}
        self.notes: list[str] = []
        self._rows: dict[str, Rows] = {}

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes; 0 where a number is asked for."""

    def rows(self, split: str) -> Rows:
        if split not in self._rows:
            part = self.parts[split]
            self._rows[split] = encode(self.core, part.texts, part.targets, self.length)
        return self._rows[split]

    def head(self, encoder: Encoder, dropout: float) -> Head:
        if self.classes:
            return Classifier(encoder, self.classes, dropout, self.kind)
        return Regressor(encoder, dropout, self.kind)

    def about(self) -> list[str]:
        lines = list(self.notes)
        for split, part in self.parts.items():
            if split in self.unknown:
                lines.append(f"{split}: {len(part.index):,} rows to predict")
                continue
            rows = self.rows(split)
            cut = f", {rows.cut:,} cut to {self.length}" if rows.cut else ""
            size = np.diff(rows.ends).mean()
            lines.append(f"{split}: {len(rows):,} rows, {size:.1f} tokens a row{cut}; {self.balance(part)}")
        return lines

    def balance(self, part: Part) -> str:
        """How often every class occurs, or the range of the numbers."""
        if not self.classes:
            return f"{part.gold.min():g} to {part.gold.max():g}, mean {part.gold.mean():.3g}"
        counts = Counter(part.targets[:, 0].tolist())
        total = len(part.targets)
        shown = [f"{self.labels[c]} {counts[c]:,} ({counts[c] / total:.1%})" for c in range(self.classes)]
        return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")

    def logits(self, split: str, predictions: Predictions) -> Shaped[np.ndarray, "r k"]:
        """What the head said of every row. UserError for NaN."""
        return stacked(f"{self.name}, {split}", predictions, len(self.parts[split].index))
