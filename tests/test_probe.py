"""The probe finds what was planted, and nothing in noise; its plane is a ridge regression; its damage is as stated."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.cost import Shape, Work
from electrain.data.examples import Packing, Rows
from electrain.data.loader import Loader
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.probe import Moved, Plane, Swapped, area, probe
from electrain.randomness import Stream, fold, row_keys, uniform
from tests.training import VOCAB, one_thread  # noqa: F401 - a fixture

LENGTH, WIDTH = 24, 8


@final
class Climb(Packing):
    """[CLS], words that go up by one from somewhere, [SEP]; the last quarter of every third row is padding."""

    rows, length = 256, LENGTH

    def take(self, rows: np.ndarray) -> Rows:
        ids = 5 + (rows[:, None] * 37 + np.arange(LENGTH)) % 190
        ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
        real = np.ones_like(ids, bool)
        real[rows % 3 == 0, -LENGTH // 4 :] = False
        return Rows(np.where(real, ids, VOCAB.pad), np.zeros_like(ids), real)


class Stub(Encoder):
    """Vectors as a function of the ids: `sees` fills the first feature, a hash of row and place the others."""

    @dataclass(frozen=True)
    class Config(Encoder.Config):
        def build(self, vocab: Any, share: nn.Module | None = None) -> "Stub":
            raise NotImplementedError

        def scaled(self, width: float, depth: float) -> "Encoder.Config":
            return self

    def __init__(self, sees: str):
        super().__init__()
        self.tokens, self.sees = nn.Embedding(1, 1), sees

    def start(self, module: nn.Module) -> None: ...

    def cost(self, shape: Shape, part: str = "encoder", *, trained: bool = True) -> tuple[Work, ...]:
        return ()

    def embed(self, ids: Tensor, segments: Any = None, *, drop: Any = None, delta: Any = None) -> Tensor:
        place = torch.arange(ids.shape[1])[None]
        key = fold(row_keys(9, 9, ids[:, 1]), 3)  # noise that changes with the row, never with the damage alone
        x = torch.stack([uniform(fold(key, n), Stream.NOISE, place) for n in range(WIDTH)], -1).float()
        climb = ids - torch.roll(ids, 1, 1)
        if self.sees == "order":
            x[..., 0] += (climb - 1).abs().clamp(max=3).float()
        elif self.sees == "rare":
            x[..., 0] += (ids == 7).float()
        elif self.sees == "tokens":
            x = nn.functional.embedding(ids, torch.randn(VOCAB.size, WIDTH, generator=torch.Generator().manual_seed(0)))
        assert not self.training
        return x

    def through(self, x: Tensor, real: Tensor, first: int, last: int, **_: Any) -> Tensor:
        return x

    height, width = 1, WIDTH


@pytest.fixture
def loader() -> Loader:
    return Loader(Climb(), VOCAB, batch=32, seed=1)


def one_word() -> Tensor:
    counts = torch.zeros(VOCAB.size, dtype=torch.float64)
    counts[7] = 1
    return counts


def test_a_planted_signal_is_found(loader: Loader) -> None:
    assert probe(Stub("rare"), loader, 256, Swapped(one_word())) > 0.97
    # What is out of order here is one or both of the pair, and one behind it that was not moved.
    assert probe(Stub("order"), loader, 256, Moved()) > 0.9


def test_noise_is_one_half(loader: Loader) -> None:
    for damage in (Swapped(torch.ones(VOCAB.size).double()), Moved()):
        assert probe(Stub("noise"), loader, 256, damage) == pytest.approx(0.5, abs=0.04)


def test_tokens_alone_do_not_tell_that_they_were_moved(loader: Loader) -> None:
    assert probe(Stub("tokens"), loader, 256, Moved()) == pytest.approx(0.5, abs=0.04)
    assert probe(Stub("tokens"), loader, 256, Swapped(one_word())) > 0.9  # one token all others are exchanged for


def test_the_same_every_time_and_the_encoder_as_it_was(loader: Loader) -> None:
    encoder = Stub("order").train()
    first = probe(encoder, loader, 128, Moved())
    assert encoder.training
    assert probe(encoder.eval(), loader, 128, Moved()) == first
    assert not encoder.training


def test_rows_are_read_once_at_most(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    take = Climb.take
    monkeypatch.setattr(Climb, "take", lambda self, rows: (seen.extend(rows.tolist()), take(self, rows))[1])
    probe(Stub("noise"), loader, 10_000, Moved())
    assert sorted(seen) == list(range(256))


def test_too_little_text_is_refused(loader: Loader) -> None:
    with pytest.raises(UserError, match="has 256 rows, of which 63 are asked for; it needs two batches of 32"):
        probe(Stub("noise"), loader, 63, Moved())
    with pytest.raises(UserError, match="no token of the held-out text was damaged"):
        probe(Stub("noise"), loader, 256, Moved(0.0))


def test_moved_changes_places_and_nothing_else() -> None:
    text = Climb().take(np.arange(240))
    ids, _, real = (torch.from_numpy(part) for part in text)
    maskable = real & ~torch.isin(ids, torch.tensor(VOCAB.special))
    batch = Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(0, 0, torch.arange(240)))
    moved, label = Moved()(batch)
    assert torch.equal(moved.sort(1).values, ids.sort(1).values)
    assert not (label & ~maskable).any() and torch.equal(label, moved != ids)
    assert torch.equal(moved[~label], ids[~label])
    # Whole pairs, 1 and 2, 3 and 4, ...: both, or neither.
    assert torch.equal(label[:, 1:-1:2], label[:, 2::2][:, : label[:, 1:-1:2].shape[1]])
    assert torch.equal(moved[:, 1][label[:, 1]], ids[:, 2][label[:, 1]])
    assert label[maskable].double().mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(Moved()(batch)[0], moved)


def test_the_plane_is_a_ridge_regression_on_standardised_features() -> None:
    random = np.random.default_rng(0)
    x = random.normal(3, [1, 5, 0.1, 2], (500, 4)) @ random.normal(size=(4, 4))
    label = x[:, 0] + random.normal(0, 8, 500) > 1
    parts = [
        (torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(np.split(x, 5), np.split(label, 5), strict=True)
    ]
    ours = Plane.fit(iter(parts))(torch.from_numpy(x)).numpy()
    z = (x - x.mean(0)) / x.std(0)
    theirs = Ridge(alpha=1e-3 * 500).fit(z, label.astype(float)).predict(z)
    np.testing.assert_allclose(ours, theirs - theirs.mean(), atol=1e-9)


def test_a_feature_that_never_moves_is_no_harm() -> None:
    x = torch.randn(200, 3).double()
    x[:, 1] = 4.0
    label = x[:, 0] > 0
    score = Plane.fit(iter([(x, label)]))(x)
    assert score.isfinite().all() and area(score.numpy(), label.numpy()) > 0.99


def test_the_area_is_exact() -> None:
    random = np.random.default_rng(1)
    label = random.random(400) < 0.2
    for score in (random.normal(size=400), np.round(random.normal(label * 1.0)), np.zeros(400)):
        assert area(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
