"""Batches of like length: every row once an epoch, little padding, and the same ones for the same seed."""

import numpy as np
import pytest
import torch

from electrain.finetune.batches import Batches
from electrain.finetune.task import Row
from tests.finetune.toy import VOCAB


def made(count: int = 333, along: bool = False) -> list[Row]:
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        ids = np.array([2, *random.integers(5, 60, random.integers(1, 40)), 3], np.int32)
        second = int(random.integers(1, len(ids)))
        target = np.arange(len(ids)) if along else np.array([number])
        rows.append(Row(ids, second, target.astype(np.int64)))
    return rows


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own() -> None:
    deal = Batches(made(), VOCAB, 8, None)
    epochs = [deal.epoch(seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for epoch in epochs:
        assert len(epoch) == len(deal) == 42
        assert sorted(np.concatenate(epoch)) == list(range(333))
    flat = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert flat[0] != flat[1] != flat[2] != flat[0]
    assert flat[0] == np.concatenate(Batches(made(), VOCAB, 8, None).epoch(0, 0)).tolist()


def test_rows_of_like_length_stand_together() -> None:
    rows = made(4000)
    deal = Batches(rows, VOCAB, 32, None)
    padded = sum(deal.lengths[part].max() * len(part) for part in deal.epoch(3, 0))
    random = np.random.default_rng(0).permutation(4000).reshape(-1, 32)
    mixed = sum(deal.lengths[part].max() * len(part) for part in random)
    real = deal.lengths.sum()
    assert padded < 1.07 * real < 1.5 * real < mixed
    firsts = [deal.lengths[part].max() for part in deal.epoch(3, 0)]
    assert abs(np.corrcoef(np.arange(len(firsts)), firsts)[0, 1]) < 0.3  # not from long to short through the epoch


@pytest.mark.parametrize("even", [False, True])
def test_what_stands_in_a_batch(even: bool) -> None:
    rows = made()
    deal = Batches(rows, VOCAB, 8, None, even=even)
    numbers = np.array([5, 0, 11])
    batch, target, weight = deal.take(numbers, 0, 0)
    size = 8 if even else 3
    longest = max(len(rows[number].ids) for number in numbers)
    assert longest % 8 and batch.ids.shape == (size, (longest + 7) // 8 * 8 if even else longest)
    assert weight.tolist() == [1.0] * 3 + [0.0] * (size - 3)
    for at, number in enumerate(numbers):
        row = rows[number]
        end = len(row.ids)
        assert batch.ids[at, :end].tolist() == row.ids.tolist() and (batch.ids[at, end:] == VOCAB.pad).all()
        assert batch.real[at].sum() == end and batch.real[at, :end].all()
        assert batch.segments[at].tolist() == [int(row.second <= p < end) for p in range(batch.ids.shape[1])]
        assert target[at].tolist() == [number]
        assert batch.maskable[at].sum() == end - 2
    assert batch.real[3:].sum() == size - 3  # a row that fills has one token, so that attention has something to see
    again = deal.take(numbers, 0, 1)
    assert not torch.equal(batch.key, again.batch.key)


def test_targets_as_long_as_their_rows_are_padded_with_what_is_ignored() -> None:
    rows = made(along=True)
    _, target, _ = Batches(rows, VOCAB, 4, -100).take(np.array([1, 2]), 0, 0)
    ends = [len(rows[1].ids), len(rows[2].ids)]
    assert target.shape == (2, max(ends))
    for at, end in enumerate(ends):
        assert target[at, :end].tolist() == list(range(end)) and (target[at, end:] == -100).all()


def test_evaluation_batches_hold_few_tokens_and_every_row() -> None:
    deal = Batches(made(), VOCAB, 8, None)
    parts = deal.in_order(200)
    assert sorted(np.concatenate(parts)) == list(range(333))
    assert max(deal.lengths[part].max() * len(part) for part in parts) <= 200


def test_no_batch_is_longer_than_the_longest_row() -> None:
    """Which the encoder may just have positions for."""
    deal = Batches([Row(np.arange(2, 39, dtype=np.int32), 37, np.array([0]))], VOCAB, 2, None, even=True)
    assert deal.take(np.array([0]), 0, 0).batch.ids.shape == (2, 37)
