"""Steps are pure, processes share them out, and the background thread starts, fails and ends as it should."""

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from electrain.batch import Batch
from electrain.data.examples import Full, Packing, Pairs
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.randomness import row_keys

SPECIAL = torch.tensor([0, 2, 3, 4])


@pytest.fixture
def shards(make_data: Callable[..., Path], documents: Callable[..., list[list[int]]]) -> Shards:
    return Shards.open(make_data([(documents(60, seed=0), 1.5), (documents(40, seed=1), 1.0)], [(documents(4), 1.0)]))


@pytest.fixture(params=[Full.Config(), Pairs.Config()], ids=["full", "pairs"])
def packing(request: pytest.FixtureRequest, shards: Shards) -> Packing:
    return request.param.build(shards, 16)


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first[:5], second[:5], strict=True)
    )


def test_a_batch_is_what_it_says(packing: Packing, shards: Shards) -> None:
    loader = Loader(packing, shards.vocab, batch=32, seed=1)
    (batch,) = loader.step(3)
    ids, segments, real = packing.take(loader.rows(3)[0])
    assert torch.equal(batch.ids, torch.from_numpy(ids))
    assert torch.equal(batch.segments, torch.from_numpy(segments))
    assert torch.equal(batch.real, torch.from_numpy(real))
    assert torch.equal(batch.maskable, batch.real & ~torch.isin(batch.ids, SPECIAL))
    assert batch.maskable[batch.ids == shards.vocab.unk].all()
    assert (batch.ids == shards.vocab.unk).any()
    assert torch.equal(batch.key, row_keys(1, 3, torch.arange(32)))
    kinds = [torch.int64, torch.int64, torch.bool, torch.bool, torch.int64]
    assert [tensor.dtype for tensor in batch[:5]] == kinds
    assert batch.extra == ()
    assert [tuple(tensor.shape) for tensor in batch[:5]] == [(32, 16)] * 4 + [(32,)]


def test_each_epoch_holds_every_row_once_in_another_order(packing: Packing, shards: Shards) -> None:
    loader = Loader(packing, shards.vocab, batch=8, seed=1)
    steps = -(-3 * packing.rows // 8)
    rows = np.concatenate([loader.rows(step)[0] for step in range(steps)])
    epochs = [rows[epoch * packing.rows : (epoch + 1) * packing.rows] for epoch in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(packing.rows))
    assert not np.array_equal(epochs[0], epochs[1])
    other = Loader(packing, shards.vocab, batch=8, seed=2)
    assert not np.array_equal(rows[:8], other.rows(0)[0])


def test_steps_are_pure(packing: Packing, shards: Shards) -> None:
    one, other = (Loader(packing, shards.vocab, batch=8, seed=1) for _ in range(2))
    forwards = {step: one.step(step) for step in (0, 1, 2, 500, 10**9)}
    for step in reversed(forwards):
        assert equal(other.step(step), forwards[step])
    with pytest.raises(ValueError, match="step -1"):
        one.step(-1)


@pytest.mark.parametrize(("ranks", "accumulate"), [(1, 1), (1, 4), (2, 3), (4, 1), (12, 2), (5, 2), (7, 1)])
def test_processes_and_micro_batches_share_a_batch_out(
    packing: Packing, shards: Shards, ranks: int, accumulate: int
) -> None:
    """A micro-batch holds the same rows, in order, however many processes share it out."""
    alone = Loader(packing, shards.vocab, batch=24, seed=1, accumulate=accumulate).step(7)
    loaders = [
        Loader(packing, shards.vocab, batch=24, seed=1, accumulate=accumulate, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    shared = [loader.step(7) for loader in loaders]
    for micro, whole in enumerate(alone):
        parts = [batches[micro] for batches in shared]
        assert equal(
            [Batch(*(torch.cat(tensors) for tensors in zip(*(part[:5] for part in parts), strict=True)))], [whole]
        )
        sizes = {part.ids.shape[0] for part in parts}
        assert max(sizes) - min(sizes) <= 1
    for batches in shared:
        assert len({batch.ids.shape for batch in batches}) == 1  # so that a process compiles one step


def test_a_batch_that_cannot_be_split_is_said(packing: Packing, shards: Shards) -> None:
    for batch, accumulate in ((10, 3), (0, 1), (8, 0)):
        with pytest.raises(UserError, match=f"a batch of {batch} rows cannot be cut into {accumulate} micro-batch"):
            Loader(packing, shards.vocab, batch=batch, seed=0, accumulate=accumulate)
    with pytest.raises(UserError, match=r"micro-batch of 4 row\(s\) cannot be split over 5"):
        Loader(packing, shards.vocab, batch=8, seed=0, accumulate=2, ranks=5)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        Loader(packing, shards.vocab, batch=8, seed=0, rank=2, ranks=2)


@pytest.mark.parametrize("config", [Full.Config(), Pairs.Config()])
def test_a_small_validation_split_wraps_round(shards: Shards, config: Packing.Config) -> None:
    packing = config.build(Shards.open(shards.folder, "validation"), 16)
    assert packing.rows < 50
    rows = Loader(packing, shards.vocab, batch=200, seed=0).rows(0)[0]
    counts = np.bincount(rows, minlength=packing.rows)
    assert counts.min() >= 200 // packing.rows
    assert counts.max() <= 200 // packing.rows + 1


def test_ids_beyond_the_vocabulary_are_said(make_data: Callable[..., Path]) -> None:
    shards = Shards.open(make_data([([[5, 1000, 7]], 1.0)]))
    loader = Loader(Full.Config().build(shards, 6), shards.vocab, batch=1, seed=0)
    with pytest.raises(UserError, match="token id 1000, but the vocabulary has 1000"):
        loader.step(0)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("electrain-loader")]


def test_a_stream_is_its_steps(packing: Packing, shards: Shards) -> None:
    loader = Loader(packing, shards.vocab, batch=8, seed=1, accumulate=2)
    made = list(loader.stream(range(5, 12)))
    assert len(made) == 7
    for step, batches in zip(range(5, 12), made, strict=True):
        assert equal(batches, loader.step(step))
    assert not threads()
    assert list(loader.stream(range(5, 5))) == []


class Watched(Loader):
    """Notes which steps were made, and by which thread; one of them may fail or be slow."""

    def __init__(self, packing: Packing, shards: Shards, fails: int = -1, slow: float = 0.0) -> None:
        super().__init__(packing, shards.vocab, batch=8, seed=1)
        self.fails, self.slow = fails, slow
        self.made: list[tuple[int, bool]] = []

    def step(self, step: int) -> list[Batch]:
        self.made.append((step, threading.current_thread() is threading.main_thread()))
        time.sleep(self.slow)
        if step == self.fails:
            raise UserError("the disk is gone")
        return super().step(step)


def test_the_thread_is_one_step_ahead_and_no_more(packing: Packing, shards: Shards) -> None:
    loader = Watched(packing, shards)
    stream = loader.stream(range(0, 100))
    assert loader.made == []
    for step in range(3):
        next(stream)
        deadline = time.monotonic() + 10
        while len(loader.made) < step + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert loader.made == [(number, False) for number in range(step + 2)]


def test_an_error_surfaces_at_its_step_and_ends_the_thread(packing: Packing, shards: Shards) -> None:
    stream = Watched(packing, shards, fails=3).stream(range(0, 100))
    for _ in range(3):
        next(stream)
    with pytest.raises(UserError, match="the disk is gone"):
        next(stream)
    assert not threads()
    assert next(stream, None) is None


def test_closing_or_dropping_ends_the_thread(packing: Packing, shards: Shards) -> None:
    loader = Watched(packing, shards)
    stream = loader.stream(range(0, 100))
    next(stream)
    assert len(threads()) == 1
    stream.close()  # type: ignore[attr-defined]
    assert not threads()
    dropped = loader.stream(range(0, 100))
    next(dropped)
    assert len(threads()) == 1
    del dropped
    gc.collect()
    assert not threads()
    with pytest.raises(RuntimeError, match="the consumer"):
        for _ in loader.stream(range(0, 100)):
            raise RuntimeError("the consumer")
    gc.collect()
    assert not threads()


def test_waiting_is_counted(packing: Packing, shards: Shards) -> None:
    starved = Watched(packing, shards, slow=0.05)
    list(starved.stream(range(0, 4)))
    assert 0.15 < starved.waited < 2
    busy = Watched(packing, shards, slow=0.01)
    for _ in busy.stream(range(0, 4)):
        time.sleep(0.1)
    assert busy.waited < 0.15


def test_the_host_keeps_plain_tensors_for_the_cpu(packing: Packing, shards: Shards) -> None:
    (batches,) = Loader(packing, shards.vocab, batch=8, seed=1).stream(range(0, 1), "cpu")
    assert not any(tensor.is_pinned() for tensor in batches[0][:5])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_tensors_for_a_gpu_are_pinned(packing: Packing, shards: Shards, device: str) -> None:
    loader = Loader(packing, shards.vocab, batch=8, seed=1, accumulate=2)
    for step, batches in enumerate(loader.stream(range(0, 3), device)):
        assert all(tensor.is_pinned() for batch in batches for tensor in batch[:5])
        assert equal(batches, loader.step(step))
