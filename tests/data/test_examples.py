"""What a row holds, against rows cut the long way from the documents."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from electrain.data import examples as module
from electrain.data.examples import Full, Packing, Pairs
from electrain.data.manifest import Manifest
from electrain.data.shards import Shards
from electrain.errors import UserError

Make = Callable[..., Path]
Documents = Callable[..., list[list[int]]]
CLS, SEP, PAD = 2, 3, 0


@pytest.mark.parametrize("length", [3, 4, 17, 128])
def test_full_runs_on_without_padding(make_data: Make, documents: Documents, length: int) -> None:
    first, second = documents(30, seed=0), documents(20, seed=1)
    shards = Shards.open(make_data([(first, 2.0), (second, 1.0)]))
    run = [token for document in [*first, *first, *second] for token in [*document, SEP]]
    packing = Full.Config().build(shards, length)
    room = length - 2
    assert packing.rows == len(run) // room
    ids, segments, real = packing.take(np.arange(packing.rows))
    expected = [[CLS, *run[row * room : (row + 1) * room], SEP] for row in range(packing.rows)]
    np.testing.assert_array_equal(ids, expected)
    assert (ids.dtype, segments.dtype, real.dtype) == (np.int64, np.int64, np.bool_)
    assert not segments.any()
    assert real.all()


def test_documents_of_a_row_are_numbered(make_data: Make, documents: Documents) -> None:
    """Twice the number, as 1 more means the second of a pair; a document ends with its [SEP]."""
    texts = documents(40, seed=0)
    shards = Shards.open(make_data([(texts, 1.0)]))
    packing = Full.Config(documents="apart").build(shards, 60)
    ids, segments, _ = packing.take(np.arange(packing.rows))
    plain = Full.Config().build(shards, 60).take(np.arange(packing.rows))
    np.testing.assert_array_equal(ids, plain.ids)
    numbers = [number for number, text in enumerate(texts) for _ in range(len(text) + 1)]
    for row, found in enumerate(segments):
        inside = numbers[row * 58 : (row + 1) * 58]
        assert found[1:-1].tolist() == [2 * (number - inside[0]) for number in inside]
        assert found[0] == 0
    assert segments.max() >= 4


def chunks(parts: list[tuple[list[list[int]], float]], room: int) -> list[list[int]]:
    """The rows' texts, cut the long way: ceil(n / room) even pieces of each document, repeated by rows."""
    out = []
    for texts, repeat in parts:
        rows = []
        for text in texts:
            pieces = -(-len(text) // room)
            rows += [text[i * len(text) // pieces : (i + 1) * len(text) // pieces] for i in range(pieces)]
        out += (rows * (int(repeat) + 1))[: round(repeat * len(rows))]
    return out


def parse(ids: np.ndarray, segments: np.ndarray, real: np.ndarray) -> tuple[list[int], list[int] | None]:
    """A row's two segments; checks its frame."""
    size = int(real.sum())
    assert real[:size].all()
    assert (ids[size:] == PAD).all()
    row = ids[:size].tolist()
    assert row[0] == CLS
    assert row[-1] == SEP
    assert row.count(CLS) == 1
    middle = row.index(SEP)
    assert (segments == ((np.arange(ids.size) > middle) & real)).all()
    if middle == size - 1:
        return row[1:-1], None
    assert row.count(SEP) == 2
    return row[1:middle], row[middle + 1 : -1]


@pytest.mark.parametrize("length", [5, 6, 20, 128])
@pytest.mark.parametrize("block", [1, 3, 1024])
def test_pairs_hold_every_text_once(
    make_data: Make, documents: Documents, length: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    parts = [
        (documents(40, seed=0, limit=300), 1.0),
        (documents(4, seed=1, sizes=[0, 0, 0, 0]), 1.0),
        (documents(25, seed=2), 2.5),
        (documents(5, seed=3, sizes=[0, 1, 2, length - 3, length - 2]), 1.0),
    ]
    shards = Shards.open(make_data(parts))
    packing = Pairs.Config(short=0.0).build(shards, length)
    texts = chunks(parts, length - 3)
    assert packing.rows == len(texts)
    rows = packing.take(np.arange(packing.rows))
    for text, row in zip(texts, zip(*rows, strict=True), strict=True):
        first, second = parse(*row)
        assert first + (second or []) == text
        assert first
        assert second is None or second
        if second is not None:
            assert min(len(first), len(second)) >= max(1, len(text) // 4)
    assert {row.size for row in rows.ids} == {length}


def test_pairs_have_the_shares_of_single_and_short(make_data: Make, documents: Documents) -> None:
    length, room = 32, 29
    shards = Shards.open(make_data([(documents(4000, sizes=[room] * 4000), 5.0)]))
    packing = Pairs.Config().build(shards, length)
    count = packing.rows
    assert count == 20_000
    parsed = [parse(*row) for row in zip(*packing.take(np.arange(count)), strict=True)]
    singles = sum(second is None for _, second in parsed)
    sizes = [len(first) + len(second or []) for first, second in parsed]
    short = [size for size in sizes if size < room]
    # A short row's length is uniform in 5 .. 32, its text in 2 .. 29; one in 28 is as long as the others.
    assert stats.binomtest(singles, count, 0.1).pvalue > 1e-3
    assert stats.binomtest(len(short), count, 0.05 * 27 / 28).pvalue > 1e-3
    assert stats.chisquare([Counter(short)[size] for size in range(2, room)]).pvalue > 1e-3
    cuts = Counter(len(first) for (first, second), size in zip(parsed, sizes, strict=True) if second and size == room)
    assert set(cuts) == set(range(room // 4, room - room // 4 + 1))
    assert stats.chisquare(list(cuts.values())).pvalue > 1e-3
    # The draws of one row are independent of each other and of the row before.
    single = np.array([second is None for _, second in parsed])
    less = np.array(sizes) < room
    for other in (less, np.roll(single, 1)):
        table = [[(single & other).sum(), (single & ~other).sum()], [(~single & other).sum(), (~single & ~other).sum()]]
        assert stats.chi2_contingency(table)[1] > 1e-3  # type: ignore[operator]


@pytest.mark.parametrize("config", [Full.Config(), Pairs.Config()])
def test_a_row_does_not_depend_on_what_else_is_asked(
    make_data: Make, documents: Documents, config: Packing.Config
) -> None:
    folder = make_data([(documents(50, seed=0), 1.5), (documents(70, seed=1), 1.0)])
    packing, again = (config.build(Shards.open(folder), 24) for _ in range(2))
    everything = packing.take(np.arange(packing.rows))
    asked = np.random.default_rng(0).integers(0, packing.rows, 64)
    for one, other in zip(again.take(asked), everything, strict=True):
        np.testing.assert_array_equal(one, other[asked])
    assert again.take(asked[:0]).ids.shape == (0, 24)
    for bad in (-1, packing.rows):
        with pytest.raises(IndexError, match="outside"):
            packing.take(np.array([bad]))


def test_too_little_text_is_said(make_data: Make) -> None:
    shards = Shards.open(make_data([([[5, 6, 7], [8]], 1.0)], [([[]], 1.0)]))
    with pytest.raises(UserError, match=r"the train split holds 6 tokens, but one row of length 9 needs 7; prepare"):
        Full.Config().build(shards, 9)
    assert Full.Config().build(shards, 8).rows == 1
    empty = Shards.open(shards.folder, "validation")
    with pytest.raises(UserError, match=r"the validation split holds 1 tokens, but no document with text"):
        Pairs.Config().build(empty, 9)
    none = Shards.open(make_data([([[5]], 1.0)], name="other"), "validation")
    for config in (Full.Config(), Pairs.Config()):
        with pytest.raises(UserError, match="the validation split holds 0 tokens"):
            config.build(none, 9)


def test_impossible_choices_are_said(make_data: Make) -> None:
    shards = Shards.open(make_data([([[5, 6, 7], [8]], 1.0)]))
    with pytest.raises(UserError, match="at least 3"):
        Full.Config().build(shards, 2)
    with pytest.raises(UserError, match="at least 5"):
        Pairs.Config().build(shards, 4)
    with pytest.raises(UserError, match=r"the share single is 1\.5"):
        Pairs.Config(single=1.5).build(shards, 9)


@pytest.mark.parametrize(("ends", "message"), [([3, 2, 6], "do not ascend"), ([1, 2, 4], "ends at token 4 of 5")])
def test_pairs_notice_an_index_that_does_not_fit(make_data: Make, ends: list[int], message: str) -> None:
    folder = make_data([([[5], [6], []], 1.0)])
    raw = np.array(ends, "<u8").tobytes()
    (folder / "train/00000.ds.index").write_bytes(raw)
    manifest = Manifest.load(folder)
    shard = replace(manifest.train[0], index_sha256=hashlib.sha256(raw).hexdigest())
    replace(manifest, train=(shard,)).save(folder)
    with pytest.raises(UserError, match=rf"00000\.ds\.index: damaged, .*{message}"):
        Pairs.Config().build(Shards.open(folder), 9)
