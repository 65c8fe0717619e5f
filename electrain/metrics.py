"""Metrics that add up: over micro-batches, processes and steps, without a host sync until they are read.

A metric is a tensor of shape (2,), numerator and denominator of a mean, or of shape (2, bins), two histograms of a
score (negatives, positives), whose area under the ROC curve is read at the end.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from electrain.distributed import ranks, total

Metrics = dict[str, Tensor]

BINS = 512


def mean(values: Tensor, where: Tensor) -> Float[Tensor, "2"]:
    """Numerator and denominator of the mean of `values` over the places marked in `where`."""
    weight = where.float()
    return torch.stack([(values.float() * weight).sum(), weight.sum()]).detach()


def average(values: Tensor, where: Tensor) -> Float[Tensor, ""]:
    """The mean of `values` over the places marked in `where`, on all processes; with its gradient.

    On several processes each has its part: the sum of its own over the mean number of places that a process has. So the
    processes' mean is the mean over all places, and that of their gradients its gradient, however the places are
    spread. (The mean of their own means would let a place weigh more where there are few.)
    """
    weight = where.float()
    return (values * weight).sum() / (total(weight.sum()).clamp(min=1) / ranks())


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


def add(sums: Metrics | None, more: Metrics) -> Metrics:
    """The sum of two collections of metrics."""
    return dict(more) if sums is None else {name: sums[name] + more[name] for name in more}


def gathered(metrics: Metrics) -> Metrics:
    """The sums over all processes; each of them must call this."""
    if ranks() == 1 or not metrics:
        return metrics
    flat = total(torch.cat([value.flatten() for value in metrics.values()]))
    parts = flat.split([value.numel() for value in metrics.values()])
    return {name: part.view_as(metrics[name]) for name, part in zip(metrics, parts, strict=True)}


def area(counts: Float[Tensor, "2 bins"]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half (Mann-Whitney)."""
    negative, positive = counts.double()
    below = negative.cumsum(0) - negative / 2
    return (positive @ below / (positive.sum() * negative.sum())).item()


def read(metrics: Metrics) -> dict[str, float]:
    """Numbers for people: means, and areas for histograms; NaN where nothing was counted."""
    return {
        name: area(value.cpu()) if value.dim() == 2 else (value[0] / value[1]).item() for name, value in metrics.items()
    }
