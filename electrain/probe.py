"""A linear probe: what a plane can read from a frozen encoder's vectors, whatever the encoder was trained for.

Held-out text is damaged in one of two ways, the encoder reads it, and a ridge regression from a token's vector to "was
this token damaged" is fitted on half of the rows. The figure is the area under the ROC curve over the other half, 0.5
where the vectors hold nothing of it. The same for every encoder: no head, no draw of its own, nothing to choose, and
seconds of work; deterministic.

    swapped   15 % of the tokens exchanged for tokens drawn by their frequency: does this word fit here? Close to what a
              discriminator was trained for, so it favours discriminators; a token's own frequency helps.
    moved     pairs of neighbours that changed places, 15 % of all ("bigram shift" of Conneau et al., 2018, table 2, a
              verdict a token): is this the order of the words? No system is trained for it, and the tokens alone say
              nothing, so it is the fairer of the two.

Neither says how well a model can be fine-tuned. Read them beside an encoder with fresh weights: a random encoder that
mixes neighbours already lets a plane read something.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from electrain.batch import Batch
from electrain.data.loader import Loader
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.judge import unigram_swap
from electrain.randomness import Stream, uniform

RATE = 0.15
_RIDGE = 1e-3  # beside a unit diagonal; some 1e4 tokens for some 1e2 to 1e3 features leave it little to do


class Damage(ABC):
    """Something done to text that the vectors may or may not show."""

    @abstractmethod
    def __call__(self, batch: Batch) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
        """The damaged ids, and where they differ from the text."""


@final
class Swapped(Damage):
    """A share of the tokens exchanged for tokens drawn by `frequencies`, special tokens never."""

    def __init__(self, frequencies: Float[Tensor, " v"], rate: float = RATE):
        self.frequencies, self.rate = frequencies, rate

    def __call__(self, batch: Batch) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
        return unigram_swap(batch, self.rate, self.frequencies)


@final
class Moved(Damage):
    """A share of the pairs of neighbours, places 1 and 2, 3 and 4, ..., change places; the same token twice does not.

    Pairs that hold a special token or padding stay.
    """

    def __init__(self, rate: float = RATE):
        self.rate = rate

    def __call__(self, batch: Batch) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
        place = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        last = len(place) - 1
        partner = torch.where(place % 2 == 1, place + 1, place - 1).clamp(0, last)
        pair = (place + 1) // 2
        chosen = uniform(batch.key, Stream.EVALUATION, pair[None]) < self.rate
        chosen &= batch.maskable & batch.maskable[:, partner]
        ids = torch.where(chosen, batch.ids[:, partner], batch.ids)
        return ids, ids != batch.ids


@torch.no_grad()
def probe(encoder: Encoder, loader: Loader, rows: int, damage: Damage) -> float:
    """Area under the ROC curve of the probe on the second half of `rows` held-out rows, fitted on the first.

    The split is read once at most, so that no row stands in both halves. UserError if it is too small for two halves,
    or a half holds no damaged token.
    """
    half = min(rows, loader.packing.rows) // loader.batch // 2
    if not half:
        raise UserError(
            f"probe: the held-out text has {loader.packing.rows} rows, of which {rows} are asked for; it needs two "
            f"batches of {loader.batch}; prepare with a larger --validation"
        )
    training = encoder.training
    encoder.eval()
    plane = Plane.fit(_read(encoder, loader, range(half), damage))
    scores, labels = [], []
    for vectors, label in _read(encoder, loader, range(half, 2 * half), damage):
        scores.append(plane(vectors).cpu())
        labels.append(label.cpu())
    encoder.train(training)
    label = torch.cat(labels)
    if not 0 < int(label.sum()) < len(label):
        raise UserError("probe: no token of the held-out text was damaged, or all were; give it more rows")
    return area(torch.cat(scores).numpy(), label.numpy())


def _read(
    encoder: Encoder, loader: Loader, steps: range, damage: Damage
) -> Iterator[tuple[Float[Tensor, "n d"], Bool[Tensor, " n"]]]:
    """Vectors of the words of some steps, and whether each was damaged; special tokens and padding left out."""
    device = encoder.tokens.weight.device
    for step in steps:
        for batch in loader.step(step):
            there = batch.map(lambda tensor: tensor.to(device))
            ids, label = damage(there)
            hidden = encoder(ids, there.real, there.segments)
            yield hidden[there.maskable].double(), label[there.maskable]


def area(score: Shaped[np.ndarray, " n"], label: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve, exactly: the chance that a positive scores above a negative, ties half."""
    _, which, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = count.cumsum() - (count - 1) / 2  # the mean rank of each distinct score
    positive, negative = int(label.sum()), int((~label).sum())
    above = rank[which.reshape(-1)][label].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


class Plane:
    """A ridge regression on standardised features: a vector in, a score out."""

    def __init__(self, centre: Float[Tensor, " d"], weight: Float[Tensor, " d"]):
        self.centre, self.weight = centre, weight

    def __call__(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return (vectors - self.centre) @ self.weight

    @staticmethod
    def fit(parts: Iterator[tuple[Float[Tensor, "n d"], Bool[Tensor, " n"]]]) -> "Plane":
        """From float64 vectors and labels, part by part; only their moments are kept."""
        moments, together = 0.0, 0.0
        for vectors, label in parts:
            x = torch.cat([torch.ones_like(vectors[:, :1]), vectors], 1)
            moments = moments + x.T @ x
            together = together + label.double() @ x
        assert isinstance(moments, Tensor) and isinstance(together, Tensor)
        count = moments[0, 0]
        centre = moments[0, 1:] / count
        spread = moments[1:, 1:] / count - torch.outer(centre, centre)
        lean = together[1:] / count - centre * together[0] / count
        deviation = spread.diagonal().clamp(min=1e-12).sqrt()
        spread = spread / torch.outer(deviation, deviation)
        spread += _RIDGE * torch.eye(len(spread), dtype=spread.dtype, device=spread.device)
        return Plane(centre, torch.linalg.solve(spread, lean / deviation) / deviation)
