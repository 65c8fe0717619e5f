"""Encoding, repetitions, windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electrain.zeroshot.forward import batches, word_ends
from electrain.zeroshot.texts import Texts, distinct, rows


def texts_of(sizes: list[int]) -> Texts:
    ends = np.cumsum([0, *sizes]).astype(np.int64)
    return Texts(np.arange(ends[-1], dtype=np.int32), np.zeros(ends[-1], np.int32), ends)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 25), max_size=4), st.integers(1, 9))
def test_every_token_is_judged_once_where_it_has_the_most_context(sizes: list[int], room: int) -> None:
    texts = texts_of(sizes)
    cut = rows(texts, room)
    of = np.repeat(np.arange(len(sizes)), sizes)
    judged = np.zeros(len(texts.ids), int)
    windows = list(zip(*(field.tolist() for field in cut), strict=True))
    assert [stop - start for start, stop, _, _ in windows] == sorted(stop - start for start, stop, _, _ in windows)
    for start, stop, first, last in windows:
        assert start <= first < last <= stop and 0 < stop - start <= room
        assert len(set(of[start:stop])) == 1, "no window crosses from one text to another"
        for place in range(first, last):
            judged[place] += 1
            # By hand: the shorter of the two sides, in every window that holds the token.
            side = [min(place - a, b - 1 - place) for a, b, _, _ in windows if a <= place < b]
            assert min(place - start, stop - 1 - place) == max(side)
    assert (judged == 1).all()
    for size, start, stop in zip(sizes, texts.ends[:-1], texts.ends[1:], strict=True):
        if 0 < size <= room:
            assert (start, stop, start, stop) in windows


def test_windows_by_hand() -> None:
    cut = rows(texts_of([10]), 4)
    table = sorted(zip(*(field.tolist() for field in cut), strict=True))
    assert table == [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 7), (6, 10, 7, 10)]


def test_repetitions() -> None:
    ids = [[5, 6], [7], [5, 6], [], [5, 6], [7], []]
    words = [[0, 1], [0], [0, 1], [], [0, 0], [0], []]  # the fifth has the tokens of the first, but is one word
    flat = [np.array([x for part in parts for x in part], np.int32) for parts in (ids, words)]
    texts = Texts(flat[0], flat[1], np.cumsum([0, *map(len, ids)]).astype(np.int64))
    once, inverse = distinct(texts)
    assert inverse.tolist() == [0, 1, 0, 2, 3, 1, 2]
    assert once.ids.tolist() == [5, 6, 7, 5, 6] and once.words.tolist() == [0, 1, 0, 0, 0]
    assert once.ends.tolist() == [0, 2, 3, 3, 5]


def test_ends_of_words() -> None:
    """Two texts, the second begins with word 0 as the first ended."""
    texts = Texts(np.arange(6, dtype=np.int32), np.array([0, 1, 1, 1, 0, 0], np.int32), np.array([0, 0, 4, 6, 6]))
    assert word_ends(texts).tolist() == [1, 4, 4, 4, 6, 6]
    texts = Texts(np.arange(3, dtype=np.int32), np.zeros(3, np.int32), np.array([0, 2, 3]))
    assert word_ends(texts).tolist() == [2, 2, 3]


@pytest.mark.parametrize(("tokens", "most", "expected"), [
    (12, 99, [3, 1, 1, 1]), (1, 99, [1] * 6), (99, 4, [4, 2]), (30, 99, [4, 1, 1]), (10**6, 10**6, [6]),
])  # fmt: skip
def test_batches_by_hand(tokens: int, most: int, expected: list[int]) -> None:
    size = np.array([3, 3, 4, 7, 8, 29])
    parts = list(batches(size, tokens, most))
    assert [part.stop - part.start for part in parts] == expected
    assert np.concatenate([size[part] for part in parts]).tolist() == size.tolist()
