"""The judge on discriminators whose worth is known beforehand, and its figures against a count by hand."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from electrain.batch import Batch, Selection
from electrain.corruptors.base import Corrupted
from electrain.data.examples import Packing, Rows
from electrain.data.loader import Loader
from electrain.errors import UserError
from electrain.judge import judge, unigram_swap, verdict
from electrain.metrics import BINS, area, histograms
from electrain.randomness import row_keys
from electrain.system import System
from tests.training import BERT, ELECTRA, VOCAB, one_thread  # noqa: F401 - a fixture

WORD = 7  # the only word of the text, so that anything else was put there
LENGTH = 16


class OneWord(Packing):
    """[CLS], the word over and over, [SEP]; the last places of every second row are padding."""

    rows, length = 64, LENGTH

    def take(self, rows: np.ndarray) -> Rows:
        ids = np.full((rows.size, LENGTH), WORD)
        ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
        real = np.ones_like(ids, bool)
        real[rows % 2 == 0, -4:] = False
        return Rows(np.where(real, ids, VOCAB.pad), np.zeros_like(ids), real)


class AsItIs(nn.Module):
    """In place of the encoder: hands the ids on."""

    def forward(self, ids: Tensor, real: Tensor, segments: Tensor) -> Tensor:
        return ids[..., None].double()


class Score(nn.Module):
    """In place of the head: a function of the id."""

    def __init__(self, of: Callable[[Tensor], Tensor]):
        super().__init__()
        self.of = of

    def forward(self, hidden: Tensor) -> Tensor:
        return self.of(hidden[..., 0].long())


class Thirds(nn.Module):
    """In place of the generator: word 9 at places 3, 6 and 9 of every row."""

    def forward(self, batch: Batch, encoder: nn.Module, progress: Tensor) -> Corrupted:
        index = torch.tensor([3, 6, 9]).expand(len(batch.ids), 3)
        ids = batch.ids.scatter(1, index, 9)
        return Corrupted(
            ids, Selection(index, torch.ones_like(index, dtype=torch.bool)), ids != batch.ids, None, torch.zeros(()), {}
        )


def by_hand(of: Callable[[Tensor], Tensor]) -> System:
    system = System(ELECTRA, VOCAB)
    for name, module in (("encoder", AsItIs()), ("corruptor", Thirds())):
        delattr(system, name)
        system.add_module(name, module)
    system.objective.head = Score(of)  # type: ignore[assignment]
    return system


@pytest.fixture
def loader() -> Iterator[Loader]:
    yield Loader(OneWord(), VOCAB, batch=32, seed=0)


def frequencies() -> np.ndarray:
    counts = np.arange(VOCAB.size, dtype=np.int64)
    counts[WORD] = 100_000
    return counts


def is_other(ids: Tensor) -> Tensor:
    other = (ids != WORD) & ~torch.isin(ids, torch.tensor(VOCAB.special))
    return other.float() * 6 - 3


def test_a_perfect_discriminator(loader: Loader) -> None:
    for found in judge(by_hand(is_other), loader, 64, frequencies()):
        assert (found.auc, found.accuracy, found.found) == (1.0, 1.0, 1.0)
        assert found.majority == pytest.approx(1 - found.share)


def test_a_constant_discriminator_is_the_majority(loader: Loader) -> None:
    for found in judge(by_hand(lambda ids: torch.zeros(ids.shape)), loader, 64, frequencies()):
        assert (found.auc, found.found) == (0.5, 0.0)
        assert found.accuracy == pytest.approx(found.majority)


def test_a_random_discriminator_is_at_one_half(loader: Loader) -> None:
    for found in judge(by_hand(lambda ids: torch.randn(ids.shape)), loader, 1024, frequencies()):
        assert found.auc == pytest.approx(0.5, abs=0.03)
        assert found.found == pytest.approx(0.5, abs=0.03)
        assert found.accuracy == pytest.approx(0.5, abs=0.02)


def test_a_discriminator_that_is_always_wrong(loader: Loader) -> None:
    for found in judge(by_hand(lambda ids: -is_other(ids)), loader, 64, frequencies()):
        assert (found.auc, found.accuracy, found.found) == (0.0, 0.0, 0.0)


def test_shares_and_baselines_by_hand(loader: Loader) -> None:
    swaps, samples = judge(by_hand(is_other), loader, 64, frequencies())
    # All 64 rows once: half of them 16 real tokens of which 14 words, half 12 of which 11.
    tokens = 32 * (16 + 12)
    assert samples.share == pytest.approx(64 * 3 / tokens) and samples.majority == pytest.approx(1 - 64 * 3 / tokens)
    # round(0.15 * 14) = 2 and round(0.15 * 11) = 2 a row; drawing the word itself replaces nothing.
    drawn = 64 * 2 / tokens
    assert 0 < swaps.share < drawn / 2  # four of five draws are the word
    # The word is the most frequent, so all others are rarer; special tokens count as never seen, and are rarer still.
    special = 64 + 32  # [CLS] of all rows, [SEP] of those without padding
    words = tokens - special - 64 * 3
    assert samples.unigram_auc == pytest.approx(words / (words + special))


def test_the_judge_leaves_the_system_as_it_was(loader: Loader) -> None:
    for training in (True, False):
        system = System(ELECTRA, VOCAB).train(training)
        before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
        first = judge(system, loader, 32, frequencies())
        assert system.training is training
        assert all(torch.equal(before[name], tensor) for name, tensor in system.state_dict().items())
        assert judge(system, loader, 32, frequencies()) == first


def test_the_judge_refuses_what_is_no_discriminator(loader: Loader) -> None:
    with pytest.raises(UserError, match="trains no discriminator"):
        judge(System(BERT, VOCAB), loader, 32, frequencies())


def test_figures_of_six_tokens() -> None:
    label = np.array([True, True, True, False, False, False])
    found = verdict(np.array([2.0, 0.5, -1.0, 1.0, -2.0, -2.0]), label, np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
    assert (found.share, found.majority) == (0.5, 0.5)
    assert found.found == pytest.approx(2 / 3)  # 2 and 0.5 are above 0
    assert found.accuracy == pytest.approx(4 / 6)  # those two, and both at -2
    assert found.auc == pytest.approx(7 / 9)  # 2 beats all three, 0.5 and -1 all but the 1.0
    assert found.unigram_auc == pytest.approx((3 * (2 * 0.5 + 1)) / 9)


def test_without_a_replaced_token_there_is_no_area() -> None:
    found = verdict(np.array([-1.0, 1.0]), np.array([False, False]), np.zeros(2))
    assert math.isnan(found.auc) and math.isnan(found.unigram_auc) and math.isnan(found.found)
    assert (found.accuracy, found.majority, found.share) == (0.5, 1.0, 0.0)


def test_the_areas_are_those_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    label = random.random(300) < 0.2
    score = np.round(random.normal(label * 1.0, 1.0), 1)  # with ties
    found = verdict(score, label, -score)
    pairs = np.sign(score[label][:, None] - score[~label][None])
    assert found.auc == pytest.approx((pairs.mean() + 1) / 2)
    assert found.unigram_auc == pytest.approx(1 - found.auc)


@pytest.mark.parametrize("spread", [0.2, 1.0, 6.0])
def test_the_area_of_training_is_that_of_scikit_learn(spread: float) -> None:
    """Histograms tie scores within a bin: exact on scores cut to bins, and near on the scores themselves."""
    label = torch.rand(20_000) < 0.1
    logits = torch.randn(20_000) * spread + label * spread
    there = torch.rand(20_000) < 0.9
    ours = area(histograms(logits, label, there))
    bins = (torch.sigmoid(logits / 2) * BINS).long().clamp(0, BINS - 1)
    assert ours == pytest.approx(roc_auc_score(label[there], bins[there]), abs=1e-9)
    assert ours == pytest.approx(roc_auc_score(label[there], logits[there]), abs=1e-3)


def text(rows: int, length: int) -> Batch:
    """Only token 5, between [CLS] and [SEP]; the last quarter of the first half of the rows is padding."""
    ids = torch.full((rows, length), 5)
    ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
    real = torch.ones(rows, length, dtype=torch.bool)
    real[: rows // 2, -length // 4 :] = False
    ids = torch.where(real, ids, VOCAB.pad)
    return Batch(ids, torch.zeros_like(ids), real, real & (ids == 5), row_keys(3, 4, torch.arange(rows)))


def test_swaps_are_drawn_by_frequency() -> None:
    batch = text(800, 128)
    counts = torch.randint(1, 1000, (VOCAB.size,)).double()
    counts[[*VOCAB.special, 5, 6, VOCAB.size - 1]] = 0  # never drawn; of 5 there is nothing but
    ids, changed = unigram_swap(batch, 0.15, counts)
    # Each row: a share of its words, all of them changed, for 5 itself is never drawn.
    words = batch.maskable.sum(1)
    assert torch.equal(changed.sum(1), (words * 0.15).round().long())
    assert not (changed & ~batch.maskable).any()
    assert torch.equal(ids[~changed], batch.ids[~changed])
    seen = torch.bincount(ids[changed], minlength=VOCAB.size)
    assert not seen[counts == 0].any()
    drawn = counts > 0
    expected = counts[drawn] / counts.sum() * seen.sum()
    assert expected.min() > 0.01 and chisquare(seen[drawn], expected).pvalue > 1e-3
    # Everywhere in the row alike.
    places = changed[400:].sum(0)[1:-1]
    assert chisquare(places).pvalue > 1e-3


def test_a_swap_for_the_same_token_is_no_replacement() -> None:
    batch = text(100, 64)
    counts = torch.zeros(VOCAB.size, dtype=torch.float64)
    counts[5], counts[9] = 3, 1
    ids, changed = unigram_swap(batch, 0.5, counts)
    assert set(ids[changed].tolist()) == {9} and torch.equal(changed, ids == 9)
    picked = (batch.maskable.sum(1) * 0.5).round().sum().item()
    assert changed.sum().item() / picked == pytest.approx(1 / 4, abs=0.03)


def test_swaps_are_the_same_every_time_and_others_in_another_row() -> None:
    batch, counts = text(64, 64), torch.ones(VOCAB.size, dtype=torch.float64)
    first, again = unigram_swap(batch, 0.15, counts)[0], unigram_swap(batch, 0.15, counts)[0]
    assert torch.equal(first, again)
    assert len({tuple(row) for row in first.tolist()}) == 64
