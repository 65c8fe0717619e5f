"""A task small enough to be learnt in seconds: does the text hold the word `SIGN`?"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch
from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert
from electrain.finetune.task import SITE, Head, Predictions, Row, Task
from electrain.randomness import Drop, dropout
from electrain.vocab import Vocab

VOCAB = Vocab(size=64, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
SIZES = Bert.Config(layers=2, hidden=32, ffn=64, heads=2, embedding=16, positions=64)
SIGN = 7


class Yes(Head):
    def __init__(self, encoder: Encoder, rate: float):
        super().__init__()
        self.rate = rate
        self.out = nn.Linear(encoder.width, 2)
        encoder.start(self.out)

    def forward(self, hidden: Tensor, batch: Batch, target: Tensor, drop: Drop | None) -> Tensor:
        x = dropout(hidden[:, 0], self.rate, drop, SITE)
        return F.cross_entropy(self.out(x).float(), target[:, 0], reduction="none")

    def predict(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        return (self.out(hidden[:, 0]).float(),)


class Toy(Task):
    name, metric, judged, unknown = "toy", "accuracy", ("dev",), ("test",)
    epochs = 4.0
    labels = ("no", "yes")

    def __init__(self, count: int = 96):
        self.count = count

    def rows(self, split: str) -> Sequence[Row]:
        random = np.random.default_rng(["train", "dev", "test"].index(split))
        made = []
        for number in range(self.count):
            text = random.integers(8, 64, random.integers(3, 20))
            if yes := number % 2:
                text[random.integers(len(text))] = SIGN
            ids = np.array([2, *text, 3], np.int32)
            made.append(Row(ids, len(ids), np.array([yes], np.int64)))
        return made

    def head(self, encoder: Encoder, dropout: float) -> Head:
        return Yes(encoder, dropout)

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        right = [said[0].argmax() == row.target[0] for said, row in zip(predictions, self.rows(split), strict=True)]
        return {"accuracy": float(np.mean(right))}

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        path = folder / f"{split}.txt"
        path.write_text("".join(f"{said[0].argmax()}\n" for said in predictions))
        return [path]


def encoder(seed: int = 0) -> Bert:
    torch.manual_seed(seed)
    return SIZES.build(VOCAB)
