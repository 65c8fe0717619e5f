"""`electrain blimp` and `electrain score` from the command line."""

import io
import json
import sys
from pathlib import Path

import pytest

from electrain.cli import main


def test_blimp_prints_a_table_and_says_where_it_is(
    discriminator: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pairs = [("the cat sat", "the cat mat"), ("a dog ran", "a ran dog"), ("the moon", "the moon")]
    lines = [
        {"sentence_good": good, "sentence_bad": bad, "linguistics_term": "filler_gap_dependency", "UID": "one"}
        for good, bad in pairs
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(["blimp", "--model", discriminator, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    written = [Path(line.removeprefix("written: ")) for line in said.out.splitlines() if line.startswith("written: ")]
    assert {path.name for path in written} == {"rtd.json", "rtd.csv"} and all(path.is_file() for path in written)
    found = json.loads((tmp_path / "out" / "rtd.json").read_text())
    assert "filler" in said.out and found["ties"] == pytest.approx(1 / 3)


def test_score_reads_a_file_or_what_is_piped_in(
    discriminator: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "the cat sat on the mat .\n\nthe houses ran\n"
    (tmp_path / "text.txt").write_text(text)
    main(["score", str(tmp_path / "text.txt"), "--model", discriminator])
    from_file = capsys.readouterr().out
    for words in (["score", "-", "--model", discriminator], ["score", "--model", discriminator]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
        main(words)
        assert capsys.readouterr().out == from_file
    lines = [json.loads(line) for line in from_file.splitlines()]
    assert [line["text"] for line in lines] == text.splitlines()
    assert len(lines[0]["words"]) == 7 and lines[1]["words"] == []
    assert [word["word"] for word in lines[2]["words"]] == ["the", "houses", "ran"]  # "house" and "##s" are one word


def test_a_model_without_a_discriminator_judges_no_words(
    generator: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "text.txt").write_text("the cat\n")
    with pytest.raises(SystemExit) as left:
        main(["score", str(tmp_path / "text.txt"), "--model", generator])
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("electrain: ") and generator in said.err
