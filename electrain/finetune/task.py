"""What every task is: rows to learn from, a head, and figures that judge what the head says of other rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.encoders.base import Encoder
from electrain.randomness import Drop


class Row(NamedTuple):
    """One encoded example.

    ids     (t,) int32: [CLS] text [SEP], or [CLS] first [SEP] second [SEP]
    second  place where segment 1 begins; len(ids) where there is one text only
    target  (n,) what the head is to learn, int64 or float32; n is the same for all rows of a task, or t, padded with
            `Head.ignore`; of rows without an answer it is not read
    """

    ids: Shaped[np.ndarray, " t"]
    second: int
    target: Shaped[np.ndarray, " n"]


class Head(nn.Module, ABC):
    """Reads the encoder's vectors: learns from targets, and says what it takes the answer to be.

    The dropout that a head makes is drawn with `randomness.dropout`, by a site number of `SITE` or more.
    """

    ignore: int | None = None
    """What pads targets that are as long as their rows; None where all targets have one size."""

    @abstractmethod
    def forward(
        self, hidden: Float[Tensor, "b t d"], batch: Batch, target: Shaped[Tensor, "b n"], drop: Drop | None
    ) -> Float[Tensor, " b"]:
        """The loss of every row; `drop` is the randomness of dropout, None in evaluation."""

    @abstractmethod
    def predict(self, hidden: Float[Tensor, "b t d"], batch: Batch) -> tuple[Tensor, ...]:
        """What the head says of every row: tensors with one entry a row along the first axis."""


SITE = 1_000_000  # of dropout in heads; the encoder's are below
Predictions = Sequence[tuple[np.ndarray, ...]]  # one entry a row, in the order of the split's rows


class Task(ABC):
    """A task, read from its files and encoded with a tokenizer.

    name     as on the command line
    metric   the figure that the task is judged by, one of those that `score` gives
    judged   splits with answers, by which runs are judged; the first one's `metric` counts
    unknown  splits without answers, for which predictions are written
    epochs   of fine-tuning, unless the user says otherwise
    labels   names of the classes, in the order of the head's logits; none where it gives a number or a span
    unit     where it gives a number: those that the head's 0 and 1 stand for
    """

    name: str
    metric: str
    judged: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    epochs: float = 3.0
    labels: tuple[str, ...] = ()
    unit: tuple[float, float] = (0.0, 1.0)

    @abstractmethod
    def rows(self, split: str) -> Sequence[Row]:
        """Encoded examples of "train" or of a split named above, in the order of the file."""

    @abstractmethod
    def head(self, encoder: Encoder, dropout: float) -> Head:
        """A fresh head; `dropout` is the share that it drops in training."""

    @abstractmethod
    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        """Figures of a judged split by name, shares from 0 to 1 (correlations from -1). UserError for NaN."""

    @abstractmethod
    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        """Write predictions in the form that the task's judges take; returns the files."""

    def about(self) -> list[str]:
        """Lines to print before training: rows, labels and their balance, what was cut or left out."""
        return []
