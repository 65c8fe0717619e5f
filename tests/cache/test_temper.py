"""Masses, draws and distances of cached distributions, against NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats

from electrain.cache.temper import Entry, dense, draw, entry, masses, total_variation
from electrain.tail import shares

VOCAB, TOP, DRAWS = 60, 6, 200_000
TEMPERATURES = [0.7, 1.0, 1.5, 2.0, 3.0]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(1)) * torch.tensor([[0.5], [2.0], [4.0]])


@pytest.fixture
def weight() -> torch.Tensor:
    return shares((1000 / torch.arange(1, VOCAB + 1)).long(), special=(0, 7))


def expected(kept: Entry, weight: torch.Tensor, temperature: float) -> np.ndarray:
    """The distribution of temper.py's first lines, a slot and a token at a time."""
    ids, logp, tail = (value.numpy().astype(np.float64) for value in kept)
    out = np.zeros((len(ids), VOCAB))
    b = 1 / temperature
    share = weight.numpy().astype(np.float64) ** b
    for row in range(len(ids)):
        known = np.array([np.log(VOCAB - TOP), tail[row, 1], tail[row, 0]])
        curve = np.polyfit([0, 0.5, 1], known, 2)
        slope = min(np.polyval(np.polyder(curve), 1.0), logp[row, -1])
        rest = np.exp(np.polyval(curve, b) if b <= 1 else known[2] + slope * (b - 1))
        outside = [token for token in range(VOCAB) if token not in ids[row]]
        for token in outside:
            out[row, token] = rest * share[token] / sum(share[other] for other in outside)
        for token, value in zip(ids[row].astype(int), logp[row], strict=True):
            out[row, token] = np.exp(value * b)
        out[row] /= out[row].sum()
    return out


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_draws_follow_the_distribution(logits: torch.Tensor, weight: torch.Tensor, temperature: float) -> None:
    kept, now = entry(logits, TOP), torch.tensor(temperature)
    wanted = expected(kept, weight, temperature)
    assert dense(kept, weight, now).numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-12)
    many = Entry(*(value[:, None].expand(-1, DRAWS, -1) for value in kept))
    # Evenly spread u: every token comes as often as its probability says, to rounding.
    even = ((torch.arange(DRAWS).double() + 0.5) / DRAWS).expand(3, -1)
    random = torch.rand(3, DRAWS, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for u, limit in ((even, 2.0), (random, np.inf)):
        tokens = draw(many, weight, now, u)
        for row in range(3):
            counts = np.bincount(tokens[row].numpy(), minlength=VOCAB)
            assert np.abs(counts - wanted[row] * DRAWS).max() < limit
            likely = wanted[row] * DRAWS > 5
            rest = counts[~likely].sum(), wanted[row][~likely].sum() * DRAWS
            both = [np.append(counts[likely], rest[0]), np.append(wanted[row][likely] * DRAWS, rest[1])]
            both = [values[both[1] > 0] for values in both]
            assert stats.chisquare(*both).pvalue > 1e-3


def test_no_draw_is_a_kept_token_by_way_of_the_tail_or_a_special_one(weight: torch.Tensor) -> None:
    """All mass in the tail, kept tokens next to each other, at both ends of the vocabulary."""
    ids = torch.tensor([[0, 1, 2, 57, 58, 59]]).expand(DRAWS, -1)
    kept = Entry(ids, torch.full((DRAWS, TOP), -30.0).half(), torch.tensor([[0.0, 1.5]]).half().expand(DRAWS, -1))
    u = (torch.arange(DRAWS).double() + 0.5) / DRAWS
    tokens = draw(kept, weight, torch.tensor(1.0), u)
    assert set(tokens.tolist()) == set(range(3, 57)) - {7}


def test_the_tail_is_exact_where_it_is_known_and_close_between(logits: torch.Tensor) -> None:
    kept = entry(logits, TOP)
    for temperature in (1.0, 1.25, 1.5, 2.0, 3.0):
        mass = masses(kept, torch.tensor(temperature), VOCAB)
        found = (mass[:, -1] / mass.sum(-1)).numpy()
        full = torch.softmax(logits.double() / temperature, -1)
        true = 1 - full.gather(1, kept.ids).sum(-1).numpy()
        how = {"rel": 0.01} if temperature in (1.0, 2.0) else {"abs": 0.01 if temperature < 2 else 0.03}
        assert found == pytest.approx(true, **how), temperature


def test_total_variation_is_the_full_computation(logits: torch.Tensor, weight: torch.Tensor) -> None:
    kept = entry(logits, TOP)
    for temperature in (1.0, 2.0):
        scaled = logits.double().numpy() / temperature
        full = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
        wanted = np.abs(full - expected(kept, weight, temperature)).sum(1) / 2
        found = total_variation(logits, kept, weight, torch.tensor(temperature))
        assert found.numpy() == pytest.approx(wanted, rel=1e-5)
        assert (wanted > 0.01).all()


def test_more_kept_is_closer(logits: torch.Tensor, weight: torch.Tensor) -> None:
    means = [total_variation(logits, entry(logits, top), weight, torch.tensor(1.5)).mean() for top in (2, 8, 30, 59)]
    assert means[0] > means[1] > means[2] > means[3] and means[3] < 1e-3
