"""The counter-based random numbers: against plain Python, against chance, and compiled against not."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from electrain.randomness import Drop, Stream, bits, drop, dropout, fold, keep, row_keys, uniform

WORD = 2**64


def mix(x: int) -> int:
    """The finaliser of SplitMix64, in unbounded integers cut to 64 bits."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


def plain_fold(key: int, number: int) -> int:
    return mix((mix(key) + (number + 1) * 0x9E3779B97F4A7C15) % WORD)


def signed(x: int) -> int:
    return x - WORD if x >= WORD // 2 else x


def test_splitmix_itself() -> None:
    """The published generator's first three outputs from seed 1234567: the finaliser over a golden-ratio counter."""
    outputs = [mix((1234567 + count * 0x9E3779B97F4A7C15) % WORD) for count in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("key", [0, 1, 42, WORD - 1, WORD // 2, 0x0123456789ABCDEF])
@pytest.mark.parametrize("number", [0, 1, 7, 2**31, 2**62, -1])
def test_fold_equals_plain_integers(key: int, number: int) -> None:
    expected = signed(plain_fold(key, number))
    assert fold(torch.tensor([signed(key)]), torch.tensor([number])).tolist() == [expected]
    if number >= 0:
        assert fold(torch.tensor([signed(key)]), number).tolist() == [expected]


def test_a_uniform_number_from_its_definition() -> None:
    key = row_keys(5, 9, torch.tensor([3]))
    row = plain_fold(plain_fold(5, 9), 3)
    assert key.tolist() == [signed(row)]
    word = plain_fold(plain_fold(row, Stream.SAMPLE), 11) % 2**63
    assert bits(key, Stream.SAMPLE, torch.tensor([[11]])).tolist() == [[word]]
    assert uniform(key, Stream.SAMPLE, torch.tensor([[11]])).tolist() == [[(word >> 10) / 2**53]]


def test_uniformity() -> None:
    """40,000 numbers from rows and places next to each other: Kolmogorov-Smirnov, chi-square, and every bit."""
    key = row_keys(0, 0, torch.arange(200))
    u = uniform(key, Stream.SELECT, torch.arange(200)[None]).flatten().numpy()
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.chisquare(np.bincount((u * 256).astype(int), minlength=256)).pvalue > 1e-3
    words = bits(key, Stream.SELECT, torch.arange(200)[None]).flatten().numpy()
    for position in range(63):
        ones = int((words >> position & 1).sum())
        assert stats.binomtest(ones, words.size).pvalue > 1e-4, position


def grid(seed: int, step: int, stream: int, rows: int = 128, places: int = 128, first: int = 0) -> Tensor:
    return uniform(row_keys(seed, step, torch.arange(first, first + rows)), stream, torch.arange(places)[None])


def test_independence_of_seeds_steps_streams_rows_and_places() -> None:
    base = grid(0, 0, Stream.SELECT)
    pairs = {
        "next seed": (base, grid(1, 0, Stream.SELECT)),
        "next step": (base, grid(0, 1, Stream.SELECT)),
        "far step": (base, grid(0, 2**20, Stream.SELECT)),
        "seed and step exchanged": (grid(3, 7, Stream.SELECT), grid(7, 3, Stream.SELECT)),
        "other stream": (base, grid(0, 0, Stream.MASK)),
        "stream and step": (grid(0, 1, Stream.SELECT), grid(0, 0, Stream.MASK)),
        "next row": (base[:-1], base[1:]),
        "next place": (base[:, :-1], base[:, 1:]),
        "row and place exchanged": (base.triu(1)[base.triu(1) > 0], base.T.triu(1)[base.triu(1) > 0]),
        "place 2 on": (base[:, :-2], base[:, 2:]),
        "rows a batch away": (base, grid(0, 0, Stream.SELECT, first=2**31)),
    }
    for name, both in pairs.items():
        a, b = (x.flatten().numpy() for x in both)
        assert not np.array_equal(a, b), name
        # 16,000 pairs: a correlation of independent numbers stays below 5 / sqrt(n) but for one in two million.
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size), name
        table = np.histogram2d(a, b, bins=8, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(table.flatten()).pvalue > 1e-4, name


def test_no_number_comes_twice() -> None:
    words = torch.cat(
        [bits(row_keys(0, step, torch.arange(64)), stream, torch.arange(64)[None]).flatten()
         for step in range(8) for stream in Stream]
    )  # fmt: skip
    assert words.unique().numel() == words.numel()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.013])
def test_dropout_rate(p: float) -> None:
    source = drop(row_keys(0, 0, torch.arange(64)), Stream.GENERATOR)
    kept = keep(source, 3, (64, 100, 50), p)
    dropped = int((~kept).sum())
    assert stats.binomtest(dropped, kept.numel(), p).pvalue > 1e-3
    # No row, place or unit is dropped more often than chance has it.
    for axes in ((1, 2), (0, 2), (0, 1)):
        counts = (~kept).sum(axes).double().numpy()
        draws = kept.numel() / counts.size
        chi = ((counts - draws * p) ** 2 / (draws * p * (1 - p))).sum()
        assert 1e-4 < stats.chi2.sf(chi, counts.size) < 1 - 1e-4, axes
    assert keep(source, 0, (64, 10), 0.0).all()


def test_dropout_masks_are_independent() -> None:
    """Across sites, rows, steps, networks and neighbouring places."""
    shape = (32, 64, 64)

    def mask(site: int, step: int = 0, stream: int = Stream.GENERATOR) -> np.ndarray:
        return keep(drop(row_keys(0, step, torch.arange(32)), stream), site, shape, 0.5).numpy()

    base = mask(0)
    pairs = {f"site {site}": (base, mask(site)) for site in (1, 2, 3, 12, 36)}
    pairs |= {
        "step": (base, mask(0, step=1)),
        "network": (base, mask(0, stream=Stream.DISCRIMINATOR)),
        "row": (base[:-1], base[1:]),
        "place": (base[:, :-1], base[:, 1:]),
        "unit": (base[:, :, :-1], base[:, :, 1:]),
        "half a mask on": (base[:, :32], base[:, 32:]),
        "sites of neighbours": (mask(1)[:, :, 1:], mask(2)[:, :, :-1]),
    }
    for name, (a, b) in pairs.items():
        counts = np.bincount(2 * a.flatten().astype(int) + b.flatten(), minlength=4)
        assert stats.chi2_contingency(counts.reshape(2, 2)).pvalue > 1e-4, name


def test_dropout_uses_both_words_of_its_key() -> None:
    """Rows that share one word by chance (2**16 rows are enough for that) have masks of their own all the same."""
    words = torch.tensor([12345, 12345, 54321], dtype=torch.int32)
    for source in (Drop(words, words.flip(0)), Drop(words.flip(0), words)):
        masks = keep(source, 1, (3, 40_000), 0.5).numpy()
        for a, b in ((0, 1), (0, 2), (1, 2)):
            counts = np.bincount(2 * masks[a].astype(int) + masks[b], minlength=4)
            assert stats.chi2_contingency(counts.reshape(2, 2)).pvalue > 1e-4
            # Nor is one a piece of the other, further on.
            assert all((masks[a][:-1000] == masks[b][by : by - 1000]).mean() < 0.6 for by in range(1, 1000))


def test_dropout_scales_what_it_keeps() -> None:
    source = drop(row_keys(0, 0, torch.arange(4)), Stream.DISCRIMINATOR)
    x = torch.randn(4, 5, 6, requires_grad=True)
    y = dropout(x, 0.25, source, 1)
    kept = keep(source, 1, (4, 5, 6), 0.25)
    torch.testing.assert_close(y, torch.where(kept, x / 0.75, torch.zeros(())))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, kept / 0.75)
    assert dropout(x, 0.25, None, 1) is x and dropout(x, 0.0, source, 1) is x


def test_a_mask_belongs_to_its_row() -> None:
    """Whatever batch a row comes in; so the processes and micro-batches that share a batch draw what one would."""
    whole = keep(drop(row_keys(0, 5, torch.arange(8)), Stream.GENERATOR), 4, (8, 7, 3), 0.5)
    part = keep(drop(row_keys(0, 5, torch.arange(5, 8)), Stream.GENERATOR), 4, (3, 7, 3), 0.5)
    assert torch.equal(whole[5:], part)


def test_too_large_a_counter_is_refused() -> None:
    source = drop(row_keys(0, 0, torch.arange(1)), Stream.GENERATOR)
    with pytest.raises(ValueError, match="31 bits"):
        keep(source, 0, (1, 2**16, 2**15), 0.1)


def test_compiled_equals_eager() -> None:
    def draw(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        place = torch.arange(40)[None]
        source = drop(key, Stream.DISCRIMINATOR)
        return bits(key, Stream.SELECT, place), keep(source, 5, (6, 40, 33), 0.1), keep(source, 40, (6, 4, 9, 9), 0.5)

    key = row_keys(7, 3, torch.arange(6))
    for eager, compiled in zip(draw(key), torch.compile(draw, fullgraph=True)(key), strict=True):
        assert torch.equal(eager, compiled)


def test_the_backward_pass_of_dropout_draws_the_same_mask() -> None:
    """No mask is kept between the passes: the gradient of what was dropped is 0, of the rest 1 / (1 - p)."""
    source = drop(torch.arange(6), 3)
    x = torch.randn(6, 5, 40, requires_grad=True)
    y = dropout(x, 0.3, source, 9)
    y.sum().backward()
    kept = keep(source, 9, (6, 5, 40), 0.3)
    assert x.grad is not None and torch.equal(x.grad, kept / (1 - 0.3))
    torch.testing.assert_close(y, x * kept / (1 - 0.3))
