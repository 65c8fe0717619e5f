"""The order of an epoch is a permutation, another one for every key, and looks random."""

import numpy as np
import pytest
from scipy import stats

from electrain.data.order import fold, permute


@pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1000, 4097, 65536, 65537, 300_001])
def test_bijection(size: int) -> None:
    order = permute(np.arange(size), size, key=fold(7, size))
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_any_position_alone_is_the_same() -> None:
    order = permute(np.arange(1000), 1000, key=5)
    picked = np.array([999, 3, 3, 500])
    np.testing.assert_array_equal(permute(picked, 1000, key=5), order[picked])
    assert permute(np.array([], np.int64), 1000, key=5).size == 0


def test_huge_sizes_stay_inside_and_differ() -> None:
    index = np.arange(10**12 - 5000, 10**12)
    order = permute(index, 10**12, key=1)
    assert order.min() >= 0
    assert order.max() < 10**12
    assert np.unique(order).size == order.size
    assert abs(order.mean() / 10**12 - 0.5) < 0.03


def test_keys_differ_by_seed_and_epoch() -> None:
    orders = [permute(np.arange(1000), 1000, fold(seed, epoch)) for seed in range(4) for epoch in range(4)]
    for number, order in enumerate(orders):
        for other in orders[:number]:
            # Two random permutations agree in one place on average.
            assert (order == other).sum() < 10
    assert fold(0, 1) != fold(1, 0)
    assert fold(-1) != fold(1)
    assert len({fold(seed, epoch) for seed in range(100) for epoch in range(100)}) == 10_000


@pytest.mark.parametrize("size", [2, 3, 7, 50])
def test_every_place_is_uniform_over_keys(size: int) -> None:
    for index in {0, size - 1}:
        seen = [int(permute(np.array([index]), size, fold(11, key))[0]) for key in range(1000)]
        assert stats.chisquare(np.bincount(seen, minlength=size)).pvalue > 1e-4


def test_small_permutations_all_occur() -> None:
    seen = {tuple(permute(np.arange(4), 4, fold(key)).tolist()) for key in range(1000)}
    assert len(seen) == 24


def test_neighbours_are_not_neighbours() -> None:
    order = permute(np.arange(100_000), 100_000, fold(3, 0))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(100_000), order)[0, 1]) < 0.02
    assert (np.abs(np.diff(order)) == 1).sum() < 20


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 elements"):
        permute(np.array([], np.int64), 0, 1)
    for bad in (-1, 10):
        with pytest.raises(ValueError, match="outside"):
            permute(np.array([bad]), 10, 1)
