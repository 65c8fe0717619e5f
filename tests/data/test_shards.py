"""A split reads as one run of tokens; damage is named; size costs no memory."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from electrain.data import shards as module
from electrain.data.manifest import Manifest, Shard
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.vocab import Vocab

Documents = Callable[..., list[list[int]]]


def plain(parts: list[tuple[list[list[int]], float]]) -> list[int]:
    """The whole run of an epoch, written the long way."""
    run: list[int] = []
    for documents, repeat in parts:
        once = [token for document in documents for token in [*document, 3]]
        run += (once * (int(repeat) + 1))[: round(repeat * len(once))]
    return run


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_runs_across_shards_and_repetitions(make_data: Callable[..., Path], documents: Documents, dtype: str) -> None:
    parts = [
        (documents(20, seed=0), 2.5),
        (documents(1, sizes=[2], seed=1), 3.0),  # three tokens, shorter than most runs
        ([], 1.0),  # an empty shard
        (documents(30, seed=2), 1.0),
        (documents(40, seed=3), 0.3),
        (documents(5, seed=4), 4.7),
    ]
    shards = Shards.open(make_data(parts, dtype=dtype), verify=True)
    run = np.array(plain(parts))
    assert shards.tokens == run.size
    for count in (1, 2, 7, 126, run.size):
        starts = np.arange(run.size - count + 1)
        got = shards.gather(starts, count)
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(got, run[starts[:, None] + np.arange(count)])
    shuffled = np.random.default_rng(0).integers(0, run.size - 50, 300)
    np.testing.assert_array_equal(shards.gather(shuffled, 50), run[shuffled[:, None] + np.arange(50)])


def test_more_shards_than_are_kept_open(
    make_data: Callable[..., Path], documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OPEN", 4)
    parts = [(documents(3, seed=number), 1.0) for number in range(40)]
    shards = Shards.open(make_data(parts))
    run = np.array(plain(parts))
    for _ in range(2):
        starts = np.random.default_rng(1).integers(0, run.size - 20, 200)
        np.testing.assert_array_equal(shards.gather(starts, 20), run[starts[:, None] + np.arange(20)])
    assert shards._tokens.cache_info().currsize <= 4


def test_a_large_split_is_mapped_without_read_ahead(
    make_data: Callable[..., Path], documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_AHEAD", 10)
    parts = [(documents(9), 1.0)]
    shards = Shards.open(make_data(parts))
    np.testing.assert_array_equal(shards.gather(np.array([0]), shards.tokens)[0], plain(parts))


def test_outside_is_refused(make_data: Callable[..., Path]) -> None:
    shards = Shards.open(make_data([([[5, 6, 7]], 1.0)]))
    assert shards.gather(np.array([], np.int64), 2).shape == (0, 2)
    assert shards.gather(np.array([0]), 0).shape == (1, 0)
    for start in (-1, 1):
        with pytest.raises(IndexError, match="outside the 4 of the train split"):
            shards.gather(np.array([start]), 4)


def test_the_mapping_cannot_be_written(make_data: Callable[..., Path]) -> None:
    shards = Shards.open(make_data([([[5, 6, 7]], 1.0)]))
    with pytest.raises(ValueError, match="read-only"):
        shards.file_tokens(0)[0] = 1


def test_splits_are_apart(make_data: Callable[..., Path]) -> None:
    folder = make_data([([[5, 6]], 1.0)], [([[7]], 1.0)])
    assert Shards.open(folder, "train").gather(np.array([0]), 3).tolist() == [[5, 6, 3]]
    assert Shards.open(folder, "validation").gather(np.array([0]), 2).tolist() == [[7, 3]]
    assert Shards.open(make_data([([[5]], 1.0)], name="other"), "validation").tokens == 0


@pytest.fixture
def folder(make_data: Callable[..., Path], documents: Documents) -> Path:
    return make_data([(documents(20, seed=0), 1.0), (documents(20, seed=1), 1.0)])


@pytest.mark.parametrize("name", ["train/00001.ds", "train/00001.ds.index"])
def test_missing_short_and_long_files_are_named(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf"{name}: truncated, .* bytes where the manifest says .*prepare again"):
        Shards.open(folder)
    path.write_bytes(whole + b"\0\0")
    with pytest.raises(UserError, match=rf"{name}: too long, "):
        Shards.open(folder)
    path.unlink()
    with pytest.raises(UserError, match=rf"{name}: named in the manifest but not readable .*prepare again"):
        Shards.open(folder)


@pytest.mark.parametrize("name", ["train/00001.ds", "train/00001.ds.index"])
def test_a_flipped_bit_is_found_by_verify(folder: Path, name: str) -> None:
    Shards.open(folder, verify=True)
    damaged = bytearray((folder / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / name).write_bytes(damaged)
    Shards.open(folder)  # reads no token
    with pytest.raises(UserError, match=rf"{name}: damaged, its SHA-256"):
        Shards.open(folder, verify=True)


def test_a_file_cut_after_opening_is_named(folder: Path) -> None:
    shards = Shards.open(folder)
    (folder / "train/00000.ds").write_bytes(b"\0\0")
    with pytest.raises(UserError, match=r"00000\.ds: truncated"):
        shards.gather(np.array([0]), 5)


def test_ids_beyond_the_vocabulary_are_found_by_verify(folder: Path, make_data: Callable[..., Path]) -> None:
    bad = make_data([([[5, 6, 1000, 8]], 1.0)], name="bad")
    with pytest.raises(UserError, match=r"00000\.ds: token id 1000 at token 2, but the vocabulary has 1000"):
        Shards.open(bad, verify=True)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ([3, 2, 5], "do not ascend"),
        ([2, 4, 4], "last document ends at token 4"),
        ([2, 4, 9], "last document ends at token 9"),
        ([1, 2, 5], r"does not end with \[SEP\]"),
    ],
)
def test_an_index_that_does_not_fit_is_found_by_verify(
    make_data: Callable[..., Path], ends: list[int], message: str
) -> None:
    folder = make_data([([[5], [6], []], 1.0)])
    raw = np.array(ends, "<u8").tobytes()
    (folder / "train/00000.ds.index").write_bytes(raw)
    manifest = Manifest.load(folder)
    shard = replace(manifest.train[0], index_sha256=hashlib.sha256(raw).hexdigest())
    replace(manifest, train=(shard,)).save(folder)
    with pytest.raises(UserError, match=message):
        Shards.open(folder, verify=True)


PROBE = """
import json, sys, time
import numpy as np
from electrain.data.examples import Full, Pairs
from electrain.data.loader import Loader
from electrain.data.shards import Shards

def private():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

def use(folder):
    began = time.perf_counter()
    shards = Shards.open(folder)
    far = 0
    for packing in (Full.Config().build(shards, 128), Pairs.Config().build(shards, 128)):
        loader = Loader(packing, shards.vocab, batch=64, seed=0)
        for step in (*range(6), packing.rows // 64 // 2, packing.rows // 64 - 1):
            batch, = loader.step(step)
            assert batch.ids.shape == (64, 128) and int(batch.ids.max()) < 1000
            far = max(far, int(loader.rows(step)[0].max()) / packing.rows)
    return shards, far, time.perf_counter() - began
small, large = sys.argv[1:]
kept = [use(small)]  # whatever is allocated once is allocated now
measured = {}
for name, folder in (("small", small), ("large", large)):
    before = private()
    kept.append(use(folder))
    shards, far, seconds = kept[-1]
    measured[name] = {"tokens": shards.tokens, "far": far, "seconds": seconds, "kib": private() - before}
assert not {"datasets", "datatrove", "transformers", "tokenizers", "tyro"} & set(sys.modules)
print(json.dumps(measured))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_a_hundred_billion_tokens_cost_no_more_memory_than_a_million(tmp_path: Path) -> None:
    vocab = Vocab(size=1000, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
    folders = []
    for tokens in (10**6, 10**11):
        folder = tmp_path / str(tokens)
        (folder / "train").mkdir(parents=True)
        with open(folder / "train/0.ds", "wb") as file:
            try:
                file.truncate(tokens * 2)
            except OSError as error:
                pytest.skip(f"no sparse files here: {error}")
        documents = min(tokens // 500, 10**6)  # few for so many tokens, to be quick: the index is a real file
        (tokens // documents * np.arange(1, documents + 1, dtype="<u8")).tofile(folder / "train/0.ds.index")
        Manifest(
            dtype="uint16",
            vocab=vocab,
            tokenizer_sha256="",
            train=(Shard("train/0.ds", tokens, documents, "", ""),),
            validation=(),
            sources=(),
            validation_share=0.0,
            split="",
            frequencies_sha256="",
        ).save(folder)
        folders.append(str(folder))
    done = subprocess.run([sys.executable, "-c", PROBE, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["large"]["tokens"] == 10**11
    assert measured["large"]["far"] > 0.95
    assert measured["large"]["seconds"] < 10
    assert measured["large"]["kib"] < 16 * 1024  # 200 GB of tokens
    assert measured["large"]["kib"] - measured["small"]["kib"] < 16 * 1024
