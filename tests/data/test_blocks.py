"""No damaged token is handed out: blocks are checked as they are read, whole files where there are no checksums."""

import binascii
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from electrain.data import blocks, frequencies
from electrain.data.examples import Full, Pairs
from electrain.data.manifest import Manifest
from electrain.data.shards import Shards
from electrain.errors import UserError

Documents = Callable[..., list[list[int]]]


@pytest.fixture
def folder(make_data: Callable[..., Path], documents: Documents) -> Path:
    """Two shards of some nine blocks each, with their checksums beside them."""
    made = make_data([(documents(600, seed=0), 1.5), (documents(600, seed=1), 1.0)])
    read_all(Shards.open(made))
    return made


def read_all(shards: Shards) -> np.ndarray:
    starts = np.arange(0, shards.tokens - 50, 50)
    return shards.gather(starts, 50)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_the_checksums_are_a_digest_and_a_crc_a_page(folder: Path) -> None:
    for shard in Manifest.load(folder).train:
        content, beside = (folder / shard.file).read_bytes(), (folder / f"{shard.file}.crc").read_bytes()
        assert beside[:32] == hashlib.sha256(content).digest() and len(content) > 8 * 4096 > len(content) % 4096 > 0
        pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
        assert np.frombuffer(beside[32:], "<u4").tolist() == [binascii.crc32(page) for page in pages]


def test_every_read_of_a_damaged_block_is_refused_and_no_other(folder: Path) -> None:
    """Single flipped bits anywhere: rows that touch the block are refused, all others are as they were."""
    whole = Shards.open(folder)
    path, random = folder / "train/00001.ds", np.random.default_rng(0)
    first = whole.shards[0].span
    for bit in [0, path.stat().st_size * 8 - 1, *random.integers(path.stat().st_size * 8, size=20).tolist()]:
        expected = whole.gather(np.arange(first, whole.tokens - 7), 7).copy()
        flip(path, bit)
        shards, low, high = Shards.open(folder), bit // 8 // 4096 * 2048, (bit // 8 // 4096 + 1) * 2048
        for start in {0, low - 7, low - 6, low, high - 1, high} & set(range(whole.tokens - first - 7)):
            starts = np.array([first + start])
            if start + 7 <= low or start >= high:
                np.testing.assert_array_equal(shards.gather(starts, 7)[0], expected[start])
                continue
            with pytest.raises(UserError, match=rf"train/00001\.ds: damaged, bytes {low * 2:,} to .*prepare again"):
                shards.gather(starts, 7)
        with pytest.raises(UserError, match=r"00001\.ds: damaged"):
            read_all(shards)
        flip(path, bit)


def test_both_packings_refuse_it(folder: Path) -> None:
    flip(folder / "train/00000.ds", 50_000)
    for config in (Full.Config(), Pairs.Config()):
        packing = config.build(Shards.open(folder), 24)
        with pytest.raises(UserError, match=r"00000\.ds: damaged, bytes 4,096 to 8,191"):
            packing.take(np.arange(packing.rows))


def test_a_run_across_shards_is_checked(folder: Path) -> None:
    first = Shards.open(folder).shards[0].span
    flip(folder / "train/00001.ds", 3)
    with pytest.raises(UserError, match=r"00001\.ds: damaged, bytes 0 to 4,095"):
        Shards.open(folder).gather(np.array([first - 5]), 10)


def test_without_checksums_a_file_is_read_whole_before_its_first_use(folder: Path) -> None:
    expected = read_all(Shards.open(folder))
    beside = folder / "train/00001.ds.crc"
    whole = beside.read_bytes()
    beside.unlink()
    np.testing.assert_array_equal(read_all(Shards.open(folder)), expected)
    assert beside.read_bytes() == whole
    beside.unlink()
    flip(folder / "train/00001.ds", 100_000)
    shards = Shards.open(folder)
    shards.gather(np.array([0]), 20)  # of the other file
    with pytest.raises(UserError, match=r"00001\.ds: damaged, its SHA-256 is not the manifest's"):
        shards.gather(np.array([shards.tokens - 20]), 20)
    assert not beside.exists()


def test_where_nothing_can_be_written_the_checksums_are_kept_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_all(Shards.open(folder))

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    (folder / "train/00000.ds.crc").unlink()
    monkeypatch.setattr(blocks, "save", refuse)
    shards = Shards.open(folder)
    np.testing.assert_array_equal(read_all(shards), expected)
    shards._tokens.cache_clear()
    monkeypatch.setattr(blocks, "summed", refuse)  # not read whole a second time
    np.testing.assert_array_equal(read_all(shards), expected)
    flip(folder / "train/00000.ds", 100)
    with pytest.raises(UserError, match=r"00000\.ds: damaged, bytes 0"):
        read_all(shards)


@pytest.mark.parametrize("act", ["cut", "flipped", "exchanged", "a sum flipped"])
def test_checksums_that_are_damaged_themselves_are_named(folder: Path, act: str) -> None:
    path = folder / "train/00000.ds.crc"
    match act:
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "flipped":
            flip(path, 9)
        case "exchanged":
            shutil.copy(folder / "train/00001.ds.crc", path)
        case "a sum flipped":
            flip(path, 8 * 32 + 40)
    with pytest.raises(UserError, match=r"00000\.ds(\.crc)?: damaged.*\.crc") as caught:
        read_all(Shards.open(folder))
    assert "\n" not in str(caught.value)


def test_a_shard_and_its_checksums_of_another_folder_are_refused(
    folder: Path, make_data: Callable[..., Path], documents: Documents
) -> None:
    sizes = [len(document) for document in documents(600, seed=0)]
    other = make_data([(documents(600, sizes=sizes, seed=7), 1.0)], name="other")
    read_all(Shards.open(other))
    for name in ("00000.ds", "00000.ds.crc"):
        assert (folder / "train" / name).stat().st_size == (other / "train" / name).stat().st_size
        shutil.copy(other / "train" / name, folder / "train" / name)
    with pytest.raises(UserError, match=r"00000\.ds\.crc: damaged, or of another file"):
        read_all(Shards.open(folder))


def test_a_flipped_bit_of_an_index_is_found_before_its_first_use(folder: Path) -> None:
    flip(folder / "train/00001.ds.index", 8 * 999)
    Full.Config().build(Shards.open(folder), 24).take(np.arange(10))  # asks for no index
    with pytest.raises(UserError, match=r"00001\.ds\.index: damaged, its SHA-256"):
        Pairs.Config().build(Shards.open(folder), 24)


def test_a_file_whose_digest_nobody_wrote_down_is_read_as_it_is(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = Manifest.load(folder)
    for shard in manifest.train:
        object.__setattr__(shard, "sha256", "")
    manifest.save(folder)
    assert path.exists()
    flip(folder / "train/00000.ds", 100)
    read_all(Shards.open(folder))


def test_a_tokenizer_or_frequencies_of_other_data_are_refused(folder: Path) -> None:
    (folder / "tokenizer").mkdir()
    tokenizer, counts = folder / "tokenizer" / "tokenizer.json", folder / "frequencies.npy"
    tokenizer.write_text('{"a": 5}')
    np.save(counts, np.arange(1000))
    sums = {f"{path.stem}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() for path in (tokenizer, counts)}
    replace(Manifest.load(folder), **sums).save(folder)
    Shards.open(folder)
    assert frequencies.load(folder)[7] == 7
    flip(counts, 8 * 500)
    with pytest.raises(UserError, match=r"frequencies\.npy: damaged, its SHA-256"):
        frequencies.load(folder)
    tokenizer.write_text('{"a": 6}')
    with pytest.raises(UserError, match=r"tokenizer\.json: damaged, its SHA-256 is not the manifest's"):
        Shards.open(folder)
    tokenizer.unlink()
    Shards.open(folder)  # whoever needs it says that it is missing


def test_a_disk_that_cannot_read_is_answered_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(blocks, "load", fail)
    with pytest.raises(UserError, match=r"00000\.ds: cannot be read \(Input/output error\)"):
        Shards.open(folder).gather(np.array([0]), 5)
