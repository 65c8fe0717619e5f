"""Names that files hold cannot lead out of their folder: not by .., not from the root, not by a link."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from electrain import checkpoint
from electrain.cache.read import Cache
from electrain.data import frequencies
from electrain.data.examples import Full
from electrain.data.shards import Shards
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.errors import UserError
from electrain.files import inside
from electrain.hub.export import checkpoint_of, export
from tests.cache.conftest import cache as cache_words
from tests.cache.conftest import with_tokenizer, world  # noqa: F401 - a fixture
from tests.training import one_thread  # noqa: F401 - a fixture

OUTSIDE = ("../secret", "train/../../secret", "/etc/hostname", "a/../../../secret", "x\0y")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    (folder / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="lies outside of"):
        inside(folder, name)
    assert inside(folder, "a/../b") == folder / "a/../b"


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "file").symlink_to(tmp_path / "secret")
    (folder / "sub").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    for name in ("file", "sub/secret"):
        with pytest.raises(UserError, match="lies outside of"):
            inside(folder, name)
    (tmp_path / "linked").symlink_to(folder)  # the whole folder may be elsewhere
    (folder / "mine").write_text("x")
    (folder / "again").symlink_to(folder / "mine")
    for name in ("mine", "again", "not there yet"):
        assert inside(tmp_path / "linked", name).parent == tmp_path / "linked"


def sealed(path: Path, tree: dict[str, Any]) -> None:
    """Write a manifest with the checksum that it then has."""
    tree = {key: value for key, value in tree.items() if key != "checksum"}
    text = json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    path.write_text(json.dumps({**tree, "checksum": hashlib.sha256(text.encode()).hexdigest()}))


@pytest.mark.parametrize("name", ["../other/train/00000.ds", "/etc/hostname", "train/../../other/train/00000.ds"])
def test_a_shard_elsewhere_is_not_read(tmp_path: Path, name: str) -> None:
    data = with_tokenizer(tmp_path / "data")
    shutil.copytree(data, tmp_path / "other")
    path = data / "manifest.json"
    tree = json.loads(path.read_text())
    sealed(path, tree)
    Shards.open(data)  # the seal is right
    tree["train"][0]["file"] = name
    sealed(path, tree)
    with pytest.raises(UserError, match="does not lie inside the data folder"):
        Shards.open(data)


@pytest.mark.parametrize("name", ["train/00000.ds", "train/00000.ds.index", "frequencies.npy"])
def test_a_link_in_a_data_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    data = with_tokenizer(tmp_path / "data")
    shutil.move(data / name, tmp_path / "elsewhere")
    (data / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="lies outside of"):
        frequencies.load(data) if name.startswith("freq") else Shards.open(data)


def test_a_link_in_a_cache_is_not_followed(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    from electrain.cli import main

    main(cache_words(world, tmp_path / "cache"))
    packing = Full.Config().build(Shards.open(world / "data"), 16)
    Cache(tmp_path / "cache").reader(packing)
    path = tmp_path / "cache/train/00000.rec"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="lies outside of"):
        Cache(tmp_path / "cache").reader(packing)


@pytest.mark.parametrize(
    "field", ["tokenizer_file", "vocab_file", "added_tokens_file", "name_or_path", "_name_or_path"]
)
@pytest.mark.parametrize("place", ["../other/tokenizer.json", "ABSOLUTE", "../other"])
def test_a_tokenizer_reads_its_own_folder_only(tmp_path: Path, field: str, place: str) -> None:
    """A name in tokenizer_config.json that leads elsewhere: what lies there becomes no part of it."""
    from transformers import BertTokenizer

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for folder, words in (("own", ["own"]), ("other", ["secret", "more"])):
        BertTokenizer(vocab={w: n for n, w in enumerate([*names, *words])}).save_pretrained(tmp_path / folder)
    path = tmp_path / "own/tokenizer_config.json"
    where = str(tmp_path / "other/tokenizer.json") if place == "ABSOLUTE" else place
    path.write_text(json.dumps({**json.loads(path.read_text()), field: where}))
    for whole in (True, False):
        try:
            tokenizer = load_tokenizer(tmp_path / "own")
        except UserError:
            continue
        assert "secret" not in tokenizer.get_vocab()
        assert not whole or vocab_of(tokenizer).size == 6
        (tmp_path / "own/tokenizer.json").unlink(missing_ok=True)


def test_the_best_checkpoint_is_one_of_the_runs_own(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """best.json names a checkpoint of another run, which is whole: its weights are not taken."""
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(world / "generator", run)
    shutil.copytree(world / "generator", other)
    own, theirs = checkpoint.listed(run)[-1], checkpoint.listed(other)[-1]
    best = run / "checkpoints/best.json"
    best.write_text(json.dumps({"loss": 0.0, "checkpoint": own.name}))
    assert checkpoint_of(run, "best", lambda _: None) == own
    for place in (f"../../other/checkpoints/{theirs.name}", str(theirs)):
        best.write_text(json.dumps({"loss": 0.0, "checkpoint": place}))
        with pytest.raises(UserError, match="which is no checkpoint of this run"):
            checkpoint_of(run, "best", lambda _: None)


def test_a_run_cannot_name_files_to_export(
    world: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The data folder that run.json names is only held against its checksum; nothing of it is copied."""
    run = tmp_path / "run"
    shutil.copytree(world / "generator", run)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "manifest.json").write_text('{"sources": [{"name": "THE SECRET"}]}')
    tree = json.loads((run / "run.json").read_text())
    for data in (str(secret), "/etc", "../secret", "\0", "x" * 5000):
        (run / "run.json").write_text(json.dumps({**tree, "data": data}))
        out = export(run, tmp_path / "out", warn=lambda _: None)
        texts = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
        assert not any(b"THE SECRET" in text for text in texts)
        shutil.rmtree(out)


def test_only_streams_are_unpacked() -> None:
    """.gz and .zst hold one stream without names, so that nothing in them can lead anywhere; no archive is opened."""
    root = Path(checkpoint.__file__).parent
    words = ("tarfile", "zipfile.ZipFile", "shutil.unpack_archive", "extractall")
    wrong = [
        f"{path.relative_to(root)}: {word}"
        for path in sorted(root.rglob("*.py"))
        for word in words
        if word in path.read_text(encoding="utf-8")
    ]
    assert not wrong, wrong
