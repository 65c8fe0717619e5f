"""How well a discriminator tells replaced tokens from original ones, beside two baselines that read no context."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from electrain.batch import Batch, scatter, select
from electrain.data.loader import Loader
from electrain.errors import UserError
from electrain.objectives.rtd import Rtd
from electrain.randomness import Stream, uniform
from electrain.system import System
from electrain.systems.base import Pretraining


@dataclass(frozen=True)
class Verdict:
    """One kind of replacement, over every real token of some held-out rows.

    auc:          area under the ROC curve of the discriminator's score, replaced against original
    unigram_auc:  the same for a score that knows each token's frequency only (rare means suspicious)
    accuracy:     of calling a token replaced where the discriminator gives it more than one half
    majority:     accuracy of calling every token original
    found:        share of the replaced tokens that it calls replaced, at one half
    share:        share of the tokens that are replaced
    """

    auc: float
    unigram_auc: float
    accuracy: float
    majority: float
    found: float
    share: float


def unigram_swap(
    batch: Batch, rate: float, frequencies: Float[Tensor, " v"]
) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """A share `rate` of the text exchanged for tokens drawn by their frequency; returns ids and where they changed."""
    picked = select(batch, rate)
    heap = frequencies.double().cumsum(0)
    u = uniform(batch.key, Stream.EVALUATION, picked.index) * heap[-1]
    drawn = torch.searchsorted(heap, u, right=True).clamp(max=len(heap) - 1)
    ids = scatter(batch.ids, picked, drawn)
    return ids, ids != batch.ids


def judge(
    system: Pretraining, loader: Loader, rows: int, frequencies: np.ndarray, rate: float = 0.15
) -> tuple[Verdict, Verdict]:
    """Verdicts on unigram swaps and on the generator's own samples, over `rows` held-out rows.

    UserError if the system is no discriminator.
    """
    if not isinstance(system, System) or not isinstance(system.objective, Rtd):
        raise UserError("judge: this run trains no discriminator (its objective is not rtd)")
    counts = torch.from_numpy(frequencies).double()
    counts[list(loader.vocab.special)] = 0
    rarity = -(counts + 1).log()
    scores: list[list[Tensor]] = [[], []]
    labels: list[list[Tensor]] = [[], []]
    rare: list[list[Tensor]] = [[], []]
    training = system.training
    system.eval()
    with torch.no_grad():
        for number in range(-(-rows // loader.batch)):
            for batch in loader.step(number):
                seen = system.corruptor(batch, system.encoder, torch.ones(()))
                for kind, (ids, replaced) in enumerate((unigram_swap(batch, rate, counts), (seen.ids, seen.replaced))):
                    hidden = system.encoder(ids, batch.real, batch.segments)
                    scores[kind].append(system.objective.head(hidden)[batch.real].float())
                    labels[kind].append(replaced[batch.real])
                    rare[kind].append(rarity[ids[batch.real]])
    system.train(training)
    swaps, samples = (
        verdict(*(torch.cat(parts[kind]).numpy() for parts in (scores, labels, rare))) for kind in range(2)
    )
    return swaps, samples


def verdict(
    score: Shaped[np.ndarray, " n"], label: Bool[np.ndarray, " n"], rarity: Shaped[np.ndarray, " n"]
) -> Verdict:
    """The figures of n tokens: the discriminator's logit, whether it was replaced, and how rare it is.

    Those that need a replaced token, or an original one, are NaN where there is none.
    """
    from sklearn.metrics import roc_auc_score

    both = label.any() and not label.all()
    return Verdict(
        auc=float(roc_auc_score(label, score)) if both else math.nan,
        unigram_auc=float(roc_auc_score(label, rarity)) if both else math.nan,
        accuracy=float(((score > 0) == label).mean()),
        majority=float(1 - label.mean()),
        found=float((score[label] > 0).mean()) if label.any() else math.nan,
        share=float(label.mean()),
    )
