"""The manifest comes back as it was saved, or says what is wrong with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from electrain.data.manifest import Manifest, Shard
from electrain.errors import UserError


@pytest.fixture
def data(make_data: Callable[..., Path]) -> Path:
    return make_data([([[5, 6, 7], [8]], 2.5)], [([[9]], 1.0)])


def test_comes_back_as_saved(data: Path) -> None:
    manifest = Manifest.load(data)
    assert manifest.train == (replace(manifest.train[0], tokens=6, documents=2, repeat=2.5),)
    assert manifest.validation[0].repeat == 1.0
    assert manifest.vocab.special == (0, 2, 3, 4)
    assert manifest.token_type == np.dtype("<u2")
    manifest.save(data)
    assert Manifest.load(data) == manifest
    assert [path.name for path in data.iterdir() if path.is_file()] == ["manifest.json"]


def test_an_epoch_of_a_shard_is_its_tokens_repeated() -> None:
    assert [Shard("a", 10, 1, "", "", repeat).span for repeat in (1.0, 2.5, 0.31, 1.7, 0.01)] == [10, 25, 3, 17, 0]


def test_checksum_tells_contents_apart(data: Path) -> None:
    manifest = Manifest.load(data)
    assert replace(manifest, validation_share=0.2).checksum != manifest.checksum
    assert replace(manifest).checksum == manifest.checksum


def test_missing_folder_and_missing_manifest(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"manifest\.json: no such file; make the data with: electrain prepare"):
            Manifest.load(folder)
    (tmp_path / "run.json").touch()
    for place, what in ((tmp_path, "the folder of a run"), (tmp_path / "run.json", "a file")):
        with pytest.raises(UserError, match=f"{what}, not the folder that `electrain prepare` made"):
            Manifest.load(place)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '{"version": "1"}', "[" * 100_000])
def test_not_a_manifest(data: Path, text: str) -> None:
    (data / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json: damaged .*prepare"):
        Manifest.load(data)


def test_not_text(data: Path) -> None:
    (data / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"manifest\.json: cannot be read"):
        Manifest.load(data)


def test_another_version(data: Path) -> None:
    path = data / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(UserError, match="version 2, but this electrain reads version 1"):
        Manifest.load(data)


def test_every_changed_digit_is_noticed(data: Path) -> None:
    path = data / "manifest.json"
    text = path.read_text()
    digits = [place for place, sign in enumerate(text) if sign.isdigit()]
    for place in digits:
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        with pytest.raises(UserError, match=r"manifest\.json"):
            Manifest.load(data)


@pytest.mark.parametrize("file", ["../x.ds", "train/../../x.ds", "/etc/x.ds", "", "C:/x.ds", "train\\x.ds", "a\0b"])
def test_a_shard_outside_the_folder_is_refused(data: Path, file: str) -> None:
    manifest = Manifest.load(data)
    bad = replace(manifest, train=(replace(manifest.train[0], file=file),))
    with pytest.raises(ValueError, match="does not lie inside the data folder"):
        bad.save(data)
    assert Manifest.load(data) == manifest
    path = data / "manifest.json"
    raw = json.loads(path.read_text())
    raw["train"][0]["file"] = file
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="does not lie inside the data folder"):
        Manifest.load(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repeat", 0),
        ("repeat", -1),
        ("repeat", "NaN"),
        ("repeat", 10**400),
        ("tokens", -1),
        ("tokens", 1.5),
        ("tokens", 2**70),
        ("documents", True),
        ("file", 3),
    ],
)
def test_a_shard_that_cannot_be(data: Path, field: str, value: object) -> None:
    path = data / "manifest.json"
    raw = json.loads(path.read_text())
    raw["train"][0][field] = float("nan") if value == "NaN" else value
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        Manifest.load(data)


def test_vocabulary_must_fit(data: Path) -> None:
    manifest = Manifest.load(data)
    with pytest.raises(ValueError, match="does not fit uint16"):
        replace(manifest, vocab=replace(manifest.vocab, size=70_000)).save(data)
    with pytest.raises(ValueError, match="is not in a vocabulary"):
        replace(manifest, vocab=replace(manifest.vocab, mask=1000)).save(data)
    with pytest.raises(ValueError, match="named twice"):
        replace(manifest, validation=manifest.train).save(data)
