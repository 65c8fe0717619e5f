"""Pairs from folders and the Hub; accuracy, ties and means by hand; the files."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from electrain.errors import UserError
from electrain.zeroshot.blimp import blimp
from electrain.zeroshot.measures import Measure
from electrain.zeroshot.options import Blimp
from electrain.zeroshot.pairs import PARADIGMS, Pair, Paradigm, read
from electrain.zeroshot.results import figure, results
from tests.finetune.kit import real


def record(good: str, bad: str, uid: str, term: str = "binding") -> dict[str, Any]:
    return {"sentence_good": good, "sentence_bad": bad, "UID": uid, "linguistics_term": term, "pairID": "0"}


ISLAND = [record("the cat sat", "the cats sat", "wh_island", "island_effects") for _ in range(3)]
SELECTION = [record("a dog ran", "a mat ran", "animate_subject_trans", "s-selection"), record("a", "A", "x", "own")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pairs"
    made.mkdir()
    (made / "wh_island.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, ISLAND)))
    with gzip.open(made / "rest.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in SELECTION)
    (made / "README.md").write_text("not a paradigm")
    return made


def test_the_paradigms_are_67() -> None:
    assert len(PARADIGMS) == 67
    there = {path.name.split(".")[0] for path in real("blimp").glob("*.jsonl*")}
    assert there and there <= PARADIGMS


def test_a_folder_is_read(folder: Path) -> None:
    found = read(str(folder))
    assert [(one.uid, one.phenomenon, len(one.pairs)) for one in found] == [
        ("animate_subject_trans", "argument_structure", 1),
        ("wh_island", "island_effects", 3),
        ("x", "own", 1),
    ]
    assert found[1].pairs[0] == Pair("the cat sat", "the cats sat")
    (folder / "wh_island.jsonl").write_text('{"sentence_good": "a", "sentence_bad": "b"}')
    assert read(str(folder))[-1].uid == "wh_island", "by the file's name where there is no UID"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"sentence_good": "a", "sentence_bad": "b"}\n{"sentence_good"', r"bad.jsonl: line 2 is not valid JSON"),
        ('["a"]', r"line 1 is not valid JSON \(a list"),
        ('{"sentence_good": "a"}', "line 1: sentence_bad is not there"),
        ('\n{"sentence_good": " ", "sentence_bad": "b"}', "line 2: sentence_good is empty"),
        ('{"sentence_good": 3, "sentence_bad": "b"}', "sentence_good is int, not text"),
        (json.dumps(ISLAND[0]), "bad.jsonl: line 1: paradigm wh_island is also in|paradigm wh_island is also in"),
    ],
)
def test_damaged_pairs(content: str, message: str, folder: Path) -> None:
    (folder / "bad.jsonl").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read(str(folder))
    assert "\n" not in str(caught.value)


def test_no_pairs(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.jsonl").write_bytes(b'{"sentence_good": "\xff"}')
    with pytest.raises(UserError, match="line 1 is not valid JSON"):
        read(str(folder))
    (folder / "bad.jsonl").rename(folder / "bad.jsonl.gz")
    with pytest.raises(UserError, match="cannot be read after line 0"):
        read(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no paradigms in this folder"):
        read(str(tmp_path / "empty"))
    (tmp_path / "empty" / "one.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no pairs"):
        read(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such folder"):
        read(str(tmp_path / "none"))
    with pytest.raises(UserError, match="is a file"):
        read(str(tmp_path / "empty" / "one.jsonl"))
    (tmp_path / "empty" / "run.json").touch()
    with pytest.raises(UserError, match="is a run, which --model names"):
        read(str(tmp_path / "empty"))


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real data set, handed over as the Hub would."""
    held = {"wh_island": ISLAND, "animate_subject_trans": SELECTION[:1]}

    def load(name: str, config: str) -> datasets.DatasetDict:
        assert name == "nyu-mll/blimp"
        return datasets.DatasetDict(train=datasets.Dataset.from_list(held[config]))

    with pytest.raises(UserError, match="readable Hub data set"):
        read("nobody/nothing-of-this-name")
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda _: list(held))
    monkeypatch.setattr(datasets, "load_dataset", load)
    found = read("nyu-mll/blimp")
    assert [(one.uid, len(one.pairs)) for one in found] == [("animate_subject_trans", 1), ("wh_island", 3)]


def test_ties_and_means_by_hand() -> None:
    nan = figure(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 2.0, 9.0, 9.0]))
    assert (nan.pairs, nan.accuracy, nan.ties) == (4, 0.375, 0.25)
    pair = Pair("", "")
    paradigms = [Paradigm("a1", "A", [pair] * 4), Paradigm("a2", "A", [pair]), Paradigm("b1", "B", [pair] * 2)]
    scores = [[1, 0], [1, 0], [1, 0], [0, 1]] + [[0, 1]] + [[2, 2], [2, 1]]
    made = results(paradigms, np.array(scores, float))
    assert [one.accuracy for one in made.paradigms.values()] == [0.75, 0.0, 0.75]
    assert made.phenomena["A"].accuracy == 0.375 and made.phenomena["B"].accuracy == 0.75
    assert made.overall.accuracy == pytest.approx(0.5) and made.overall.ties == pytest.approx(0.5 / 3)
    assert made.overall.pairs == 7 and len(made.missing) == 67


def test_the_verb(folder: Path, discriminator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    files = blimp(Blimp(discriminator, str(folder), out=out, pairs=True))
    assert [path.name for path in files] == ["rtd.json", "rtd.csv", "rtd-pairs.jsonl"]
    whole = json.loads(files[0].read_text())
    lines = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert len(lines) == whole["pairs"] == 5 and whole["by"] == "rtd" and len(whole["missing"]) == 65
    # The figures again, from the pairs as they were written.
    share: dict[str, list[float]] = {}
    for line in lines:
        gap = line["score_good"] - line["score_bad"]
        share.setdefault(line["UID"], []).append(0.5 if gap == 0 else float(gap > 0))
    means = {uid: float(np.mean(each)) for uid, each in share.items()}
    assert {uid: one["accuracy"] for uid, one in whole["paradigms"].items()} == means
    assert whole["accuracy"] == pytest.approx(np.mean(list(means.values())))
    assert means["x"] == 0.5 and whole["paradigms"]["x"]["ties"] == 1, "a and A are the same to an uncased model"
    assert whole["phenomena"]["argument_structure"]["accuracy"] == means["animate_subject_trans"]
    table = list(csv.DictReader(files[1].open()))
    assert [row["level"] for row in table] == ["overall"] + ["phenomenon"] * 3 + ["paradigm"] * 3
    assert float(table[0]["accuracy"]) == whole["accuracy"]
    said = capsys.readouterr()
    assert "argument_structure" in said.out and f"{100 * whole['accuracy']:.1f}" in said.out
    assert "2 of BLiMP's 67 paradigms" in said.err and "not BLiMP's: x" in said.err

    blimp(Blimp(discriminator, str(folder), out=out, untrained=True))
    assert json.loads((out / "rtd-untrained.json").read_text())["untrained"] is True


def test_nothing_is_written_where_it_fails(
    folder: Path, discriminator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="name a folder with --out"):
        blimp(Blimp(discriminator, str(folder)))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        blimp(Blimp(discriminator, str(folder), out=tmp_path / "file"))
    with monkeypatch.context() as broken:
        broken.setattr(Measure, "tokens", lambda *_: (_ for _ in ()).throw(UserError("no numbers")))
        with pytest.raises(UserError, match="no numbers"):
            blimp(Blimp(discriminator, str(folder), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
