"""The files of a cache: what is in them, what is noticed of damage and mismatch, what a kill leaves."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from electrain import propose as building
from electrain.batch import Batch, select
from electrain.cache import write
from electrain.cache.format import Manifest
from electrain.cache.read import Cache
from electrain.cache.temper import entry
from electrain.cli import main
from electrain.corruptors.masking import mask
from electrain.data.examples import Full, Pairs
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.hub.source import Folders
from electrain.randomness import row_keys
from tests.cache.conftest import Command, cache, with_tokenizer
from tests.forked import Forked
from tests.training import VOCAB, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("unchecked")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cache in several files."""
    out = tmp_path_factory.mktemp("made") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "_FILE", 12_000)
        main(cache(world, out))
    return out


def test_what_is_read_is_what_the_generator_proposed(world: Path, made: Path) -> None:
    """Every row, both selections, against the network itself; a selection depends on (seed, row, selection) alone."""
    shards = Shards.open(world / "data")
    packing = Full.Config().build(shards, 16)
    reader = Cache(made).reader(packing)
    assert len(Manifest.load(made).train.sha256) > 2
    rows = np.random.default_rng(0).permutation(packing.rows)[:100]
    generator = Folders(world / "data").masked_lm(str(world / "generator"))
    ids, segments, real = (torch.from_numpy(array) for array in packing.take(rows))
    maskable = torch.ones_like(ids, dtype=torch.bool)
    maskable[torch.isin(ids, torch.tensor(VOCAB.special))] = False
    for epoch in (0, 1, 5):
        batch = Batch(ids, segments, real, maskable, row_keys(0, epoch % 2, torch.from_numpy(rows)))
        picked = select(batch, 0.15)
        with torch.no_grad():
            kept = entry(generator.logits(mask(batch, picked, VOCAB, masked=0.85, random=0.0), batch, picked), 8)
        place, found, logp, tail = reader.take(rows, np.full(rows.size, epoch))
        assert np.array_equal(place, torch.where(picked.valid, picked.index, 0))
        where = picked.valid.numpy()
        assert (found == kept.ids.numpy())[where].mean() > 0.999  # equals may change places in another batch
        assert np.abs(logp.astype(float) - kept.logp.numpy().astype(float))[where].max() < 0.01
        assert np.abs(tail.astype(float) - kept.tail.numpy().astype(float))[where].max() < 0.01
    one, other = (reader.take(rows, np.full(rows.size, epoch))[0] for epoch in (0, 1))
    assert (one != other).mean() > 0.5


def test_it_is_finished_and_checked_by_the_same_command(
    world: Path, made: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_FILE", 12_000)
    code, said = command(*cache(world, made))
    assert code == 0 and "is finished, and whole" in said
    shutil.copytree(made, tmp_path / "cache")
    flip(tmp_path / "cache" / "train" / "00001.rec", 700)
    code, said = command(*cache(world, tmp_path / "cache"))
    assert code == 2 and said.count("\n") == 1 and "00001.rec: damaged, its SHA-256" in said


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def swap(folder: Path) -> None:
    """The two selections of the first row, each whole, in each other's place."""
    path, size = folder / "train/00000.rec", Manifest.load(folder).binding.record.itemsize
    content = path.read_bytes()
    path.write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])


def test_a_file_of_another_cache_is_refused(world: Path, made: Path, tmp_path: Path, command: Command) -> None:
    """Same shapes, same rows, whole records: another seed's."""
    other, folder = tmp_path / "other", tmp_path / "cache"
    assert command(*cache(world, other, "--seed", 1))[0] == 0
    shutil.copytree(made, folder)
    size = (folder / "train/00000.rec").stat().st_size
    (folder / "train/00000.rec").write_bytes((other / "train/00000.rec").read_bytes()[:size])
    packing = Full.Config().build(Shards.open(world / "data"), 16)
    with pytest.raises(UserError, match=r"00000\.rec: damaged at row 5, selection 0"):
        Cache(folder).reader(packing).take(np.array([5]), np.array([0]))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda folder: flip(folder / "train/00000.rec", 30), ["00000.rec: damaged at row"]),
        (lambda folder: os.truncate(folder / "train/00001.rec", 500), ["00001.rec: truncated, 500 bytes"]),
        (lambda folder: (folder / "train/00001.rec").write_bytes(bytes(10**6)), ["00001.rec: too long"]),
        (lambda folder: (folder / "train/00000.rec").unlink(), ["00000.rec", "not readable"]),
        (lambda folder: flip(folder / "cache.json", 60), ["cache.json: damaged"]),
        (lambda folder: (folder / "cache.json").unlink(), ["no cache; make one with: electrain cache"]),
        (lambda folder: (folder / "cache.json").write_text('{"version": 9}'), ["version 9"]),
        (lambda folder: (folder / "cache.json").write_text('{"a": 1}'), ["cache.json: damaged"]),
        (
            lambda folder: shutil.copy(folder / "train/00001.rec", folder / "train/00000.rec"),
            ["00000.rec: damaged at row"],
        ),
        (swap, ["00000.rec: damaged at row 0, selection 0"]),
    ],
    ids=["flipped", "truncated", "long", "missing", "manifest", "none", "version", "foreign", "exchanged", "swapped"],
)
def test_damage_is_noticed(world: Path, made: Path, tmp_path: Path, act, words: list[str]) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(made, folder)
    act(folder)
    packing = Full.Config().build(Shards.open(world / "data"), 16)
    rows = np.arange(packing.rows)
    with pytest.raises(UserError) as caught:
        Cache(folder).reader(packing).take(rows, np.zeros_like(rows))
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_other_rows_are_refused(world: Path, made: Path, tmp_path: Path) -> None:
    shards = Shards.open(world / "data")
    other = Shards.open(with_tokenizer(tmp_path / "other", seed=1))
    for packing, words in (
        (Full.Config().build(other, 16), "was made for other data"),
        (Full.Config().build(shards, 12), "rows of 16 tokens, not 12"),
        (Pairs.Config().build(shards, 16), "the packing Full.Config(documents='together'), not Pairs.Config("),
    ):
        with pytest.raises(UserError, match="name the cache of this run") as caught:
            Cache(made).reader(packing)
        assert words in str(caught.value)


def test_settings_that_cannot_be(world: Path, made: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for words, told in (
        (cache(world, made, "--seed", 1), "holds a cache made otherwise (other seed)"),
        (cache(world, made, "--masked", 0.5, "--rate", 0.3), "(other rate, other masked, other slots)"),
        (cache(world, tmp_path / "full"), "holds other files"),
        (cache(world, tmp_path / "x", "--top-k", 101), "--top-k 101: the vocabulary has 200"),
        (cache(world, tmp_path / "x", "--selections", 0), "selections is 0"),
        (cache(world, tmp_path / "x", "--rate", 0), "rate is 0"),
        (cache(world, tmp_path / "x", "--length", 17), "--length 17: the generator does not read such long rows"),
        (cache(world, tmp_path / "x", "--generator", tmp_path / "none"), "none"),
        (["cache"], "missing: --generator, --data, --out"),
    ):
        before = contents(tmp_path)
        code, said = command(*words)
        assert code == 2 and said.count("\n") == 1 and told in said, said
        assert contents(tmp_path) == before and not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_is_refused_before_the_generator_is_loaded(
    world: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building.Folders, "masked_lm", lambda *_: pytest.fail("loaded"))
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "locked").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "access", lambda path, _: path != tmp_path / "locked"
        )  # who may do everything cannot be denied
        for name, told in (
            ("", "holds other files"),
            ("thesis.txt", "holds other files"),
            ("thesis.txt/cache", "thesis.txt cannot be written to"),
            ("locked/a/cache", "locked cannot be written to"),
        ):
            code, said = command(*cache(world, tmp_path / name))
            assert code == 2 and said.count("\n") == 1 and told in said, said
    assert {path.name for path in tmp_path.rglob("*")} == {"thesis.txt", "locked"}


def test_a_disk_without_the_room(
    world: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "free", lambda _: 1000)
    code, said = command(*cache(world, tmp_path / "cache"))
    assert code == 2 and said.count("\n") == 1 and "0.000 GB free" in said and not (tmp_path / "cache").exists()


def test_disk_use_is_told_before(world: Path, tmp_path: Path, command: Command) -> None:
    code, said = command(*cache(world, tmp_path / "cache", "--rows", 40))
    size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.rec"))
    found = Manifest.load(tmp_path / "cache")
    assert code == 0 and said.startswith("80 rows x 2 selections x 2 places x 8 proposals: 0.000 GB in ")
    assert size == 80 * 2 * (2 * (2 + 8 * 4 + 4) + 4) and found.train.rows == 40
    packing = Full.Config().build(Shards.open(world / "data"), 16)
    with pytest.raises(UserError, match=f"covers 40 of the {packing.rows} rows of the train split"):
        Cache(tmp_path / "cache").reader(packing)


def struck(suffix: str, *words: str) -> None:
    """What a process does that is killed while it writes its third file of a kind."""
    whole, made = write.write, iter(range(3))

    def strike(path: Path, content: bytes) -> None:
        if path.suffix == suffix and next(made) == 2:
            path.with_name(f".{path.name}.{os.getpid()}").write_bytes(content[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path, content)

    building._FILE, write.write = 12_000, strike  # pyright: ignore
    main(list(words))


@pytest.mark.parametrize("at", [".rec", ".json"], ids=["in a file", "between a file and its note"])
def test_killed_and_gone_on_with_is_never_killed(
    world: Path, made: Path, tmp_path: Path, at: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Forked(struck, at, *cache(world, tmp_path / "cache"), log=tmp_path / "log")
    _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said
    left = contents(tmp_path / "cache")
    assert sum(name.endswith(".rec") for name in left) == 2 and "cache.json" not in left
    with pytest.raises(UserError, match="not finished: give the same electrain cache command again"):
        Cache(tmp_path / "cache")
    code, said = command(*cache(world, tmp_path / "cache", "--seed", 3))
    assert code == 2 and "unfinished cache of another kind (other seed" in said
    monkeypatch.setattr(building, "_FILE", 12_000)
    code, said = command(*cache(world, tmp_path / "cache"))
    assert code == 0 and "GB are there" in said, said
    assert contents(tmp_path / "cache") == contents(made)
    assert json.loads((tmp_path / "cache" / "cache.json").read_text())["binding"]["top"] == 8
