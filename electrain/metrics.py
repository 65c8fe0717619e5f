"""Metrics that add up: over micro-batches, processes and steps, without a host sync until they are read.

A metric is a tensor of shape (2,), numerator and denominator of a mean, or of shape (2, bins), two histograms of a
score (negatives, positives), whose area under the ROC curve is read at the end.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Metrics = dict[str, Tensor]

BINS = 512


def mean(values: Tensor, where: Tensor) -> Float[Tensor, "2"]:
    """Numerator and denominator of the mean of `values` over the places marked in `where`."""
    weight = where.float()
    return torch.stack([(values.float() * weight).sum(), weight.sum()]).detach()


def value(number: Float[Tensor, ""]) -> Float[Tensor, "2"]:
    """One number, a mean over one."""
    return mean(number, torch.ones_like(number))


def histograms(
    logits: Float[Tensor, "*n"], positive: Bool[Tensor, "*n"], where: Bool[Tensor, "*n"]
) -> Float[Tensor, "2 bins"]:
    """Histograms of sigmoid(logits / 2), which spreads confident scores, for negatives and positives apart."""
    score = (torch.sigmoid(logits.detach().float() / 2) * BINS).long().clamp(0, BINS - 1)
    cell = torch.where(positive, score + BINS, score).flatten()
    counts = torch.zeros(2 * BINS, device=logits.device)
    return counts.scatter_add(0, cell, where.flatten().float()).view(2, BINS)


def add(total: Metrics | None, more: Metrics) -> Metrics:
    """The sum of two collections of metrics."""
    return dict(more) if total is None else {name: total[name] + more[name] for name in more}


def area(counts: Float[Tensor, "2 bins"]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half (Mann-Whitney)."""
    negative, positive = counts.double()
    below = negative.cumsum(0) - negative / 2
    return (positive @ below / (positive.sum() * negative.sum())).item()


def over_processes(sums: Tensor) -> Tensor:
    """Sums of one process made the sums of all, where there are several: then each of them must call this."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        sums = sums.clone()
        torch.distributed.all_reduce(sums)
    return sums


def read(metrics: Metrics) -> dict[str, float]:
    """Numbers for people: means, and areas for histograms; NaN where nothing was counted."""
    return {
        name: area(value.cpu()) if value.dim() == 2 else (value[0] / value[1]).item() for name, value in metrics.items()
    }
