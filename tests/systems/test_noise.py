"""Noise on the embeddings: its numbers, its places, and how soon it is detected."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from electrain.batch import chosen
from electrain.corruptors.noise import Noise, normal
from electrain.errors import UserError
from electrain.metrics import add, read
from electrain.objectives.rtd import Rtd
from electrain.randomness import Drop, Stream, drop, fractions, row_keys
from electrain.system import System
from tests.systems.kit import batch
from tests.training import (
    ENCODER,
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("unchecked")


def words(rows: int) -> Drop:
    return drop(row_keys(0, 0, torch.arange(rows)), Stream.NOISE)


def test_fractions_are_uniform_and_never_zero() -> None:
    u = fractions(words(100), 0, (100, 50, 20))
    assert u.dtype == torch.float32 and u.min() > 0 and u.max() <= 1
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    assert not torch.equal(u, fractions(words(100), 1, (100, 50, 20)))
    assert torch.equal(u[3:7], fractions(Drop(*(word[3:7] for word in words(100)[:2])), 0, (4, 50, 20)))


def test_normal_numbers_are_normal() -> None:
    z = normal(words(100), (100, 50, 20)).double().numpy()
    assert np.isfinite(z).all() and 4 < np.abs(z).max() < 6.7
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert z.mean() == pytest.approx(0, abs=4 / z.size**0.5) and z.std() == pytest.approx(
        1, abs=4 / (2 * z.size) ** 0.5
    )
    for one, other in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[..., 1:], z[..., :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / one.size**0.5


def test_noise_lies_on_the_selected_places_and_nowhere_else() -> None:
    system = System.Config(ENCODER, Noise.Config(rate=0.3, sigma=0.5), Rtd.Config()).build(VOCAB)
    found = []
    for step in range(20):
        text = batch(step)
        seen = system.corruptor(text, system.encoder, torch.tensor(0.0))
        assert seen.delta is not None and seen.delta.shape == (8, 16, 16) and torch.equal(seen.ids, text.ids)
        places = chosen(seen.picked, 16)
        assert torch.equal(seen.replaced, places) and (places.sum(1) == 4).all() and not places[~text.maskable].any()
        assert (seen.delta[~places] == 0).all() and (seen.delta[places] != 0).all()
        found.append(seen.delta[places].flatten())
    noise = torch.cat(found).double().numpy() / 0.5
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert stats.kstest(noise, "norm", args=(0, 1.1)).pvalue < 1e-3  # the sample is large enough to tell


def recall(sigma: float, steps: int) -> float:
    """Share of the noised places that is detected in the last ten of `steps`, and nothing else is."""
    torch.manual_seed(0)
    still = dataclasses.replace(ENCODER, dropout=0.0, attention_dropout=0.0)
    system = System.Config(still, Noise.Config(sigma=sigma), Rtd.Config()).build(VOCAB)
    optimizer = torch.optim.AdamW(system.parameters(), lr=3e-3)
    last = None
    for step in range(steps):
        output = system(batch(step, rows=16), torch.tensor(0.0))
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= steps - 10:
            last = add(last, output.metrics)
    assert last is not None
    values = read(last)
    assert values["rtd_majority"] == pytest.approx(1 - 2 / 16)
    return values["rtd_recall"] * (values["rtd_accuracy"] >= values["rtd_majority"])


def test_noise_is_detected_within_some_hundred_steps() -> None:
    """Kang et al., section 2: after 100 iterations the discriminator is right on all noised embeddings."""
    assert recall(1.0, 120) > 0.99
    assert recall(0.002, 120) < 0.1  # a tenth of the tables' own deviation: it has to be noise that shows


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_no_such_noise(sigma: float) -> None:
    with pytest.raises(UserError, match="choose a positive number"):
        Noise.Config(sigma=sigma)
