"""Words of lines, long lines, candidates, and what cannot be read."""

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, ElectraForPreTraining

from electrain.errors import UserError
from electrain.zeroshot.lines import chunks
from electrain.zeroshot.options import Score
from electrain.zeroshot.score import score
from tests.zeroshot.conftest import POSITIONS


def said(how: Score, capfdbinary: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    capfdbinary.readouterr()
    score(how)
    return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


@torch.no_grad()
def replaced(folder: str, ids: list[int]) -> list[float]:
    model = ElectraForPreTraining.from_pretrained(folder).eval()
    return model(torch.tensor([ids])).logits[0].sigmoid().tolist()


def test_words(discriminator: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    text = "The  unbelievable cats, été"
    (tmp_path / "text").write_text(f"{text}\n\n  \nthe cat\r\nlast", encoding="utf-8")
    fed = AutoTokenizer.from_pretrained(discriminator)(text)["input_ids"]
    expected = replaced(discriminator, fed)[1:-1]
    threshold = float(np.mean(expected))
    lines = said(Score(discriminator, str(tmp_path / "text"), threshold=threshold), capfdbinary)
    assert [line["text"] for line in lines] == [text, "", "  ", "the cat", "last"]
    assert lines[1] == {"text": "", "score": 0.0, "tokens": [], "words": []} and lines[2]["tokens"] == []
    one = lines[0]
    np.testing.assert_allclose([token["replaced"] for token in one["tokens"]], expected, atol=2e-6)
    assert one["score"] == pytest.approx(np.log1p(-np.array(expected)).sum(), abs=1e-4)
    assert [text[token["start"] : token["end"]] for token in one["tokens"]] == [
        "The", "un", "believ", "able", "cat", "s", ",", "été",
    ]  # fmt: skip
    assert [word["word"] for word in one["words"]] == ["The", "unbelievable", "cats", ",", "été"]
    most = [expected[0], max(expected[1:4]), max(expected[4:6]), expected[6], expected[7]]
    np.testing.assert_allclose([word["replaced"] for word in one["words"]], most, atol=2e-6)
    assert [word["suspicious"] for word in one["words"]] == [share >= threshold for share in most]
    assert {word["suspicious"] for line in lines for word in line["words"]} == {True, False}, "the threshold divides"


def test_an_empty_file_is_named(discriminator: str, tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    with pytest.raises(UserError, match=r"text: the file is empty; give one with a text a line"):
        score(Score(discriminator, str(tmp_path / "text")))


def test_longer_than_the_encoder(discriminator: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Against windows cut by hand: every token in the one where its shorter side is longest."""
    random = np.random.default_rng(0)
    ids = random.choice([5, 6, 7, 8, 9, 10, 13, 14], 47)
    tokenizer = AutoTokenizer.from_pretrained(discriminator)
    text = " ".join(tokenizer.convert_ids_to_tokens(ids.tolist()))
    (tmp_path / "text").write_text(f"the cat\n{text}\n")
    line = said(Score(discriminator, str(tmp_path / "text")), capfdbinary)[1]
    room = POSITIONS - 2
    begins = [0, 9, 18, 27, 29]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    seen = {b: replaced(discriminator, [cls, *ids[b : b + room].tolist(), sep]) for b in begins}
    expected = []
    for place in range(len(ids)):
        within = [b for b in begins if b <= place < b + room]
        best = max(within, key=lambda b: (min(place - b, b + room - 1 - place), -b))
        expected.append(seen[best][1 + place - best])
    np.testing.assert_allclose([token["replaced"] for token in line["tokens"]], expected, atol=2e-6)


def test_candidates(
    discriminator: str, generator: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    texts = ["the cat sat", "cat the sat on on", "moon"]
    words: dict[str, float] = {}
    (tmp_path / "text").write_text("\n".join(texts))
    for line in said(Score(discriminator, str(tmp_path / "text")), capfdbinary):
        words[line["text"]] = line["score"]
    lines = ["\t".join(texts), json.dumps({"id": 7, "candidates": texts[::-1]}), "", "one", '{"candidates": []}']
    (tmp_path / "nbest").write_text("\n".join(lines))
    how = Score(discriminator, str(tmp_path / "nbest"), rescore=True)
    first, second, blank, single, none = said(how, capfdbinary)
    order = sorted(texts, key=lambda text: -words[text])
    assert [one["text"] for one in first["candidates"]] == order
    for one in first["candidates"]:
        assert one["score"] == pytest.approx(words[one["text"]], abs=1e-5) and texts[one["place"]] == one["text"]
    assert second["id"] == 7 and [one["text"] for one in second["candidates"]] == order
    assert [one["place"] for one in second["candidates"]] == [2 - one["place"] for one in first["candidates"]]
    assert blank == none == {"candidates": []} and single["candidates"][0]["text"] == "one"
    both = said(
        Score(discriminator, str(tmp_path / "nbest"), rescore=True, by="both", generator=generator), capfdbinary
    )
    scores = [one["score"] for one in both[0]["candidates"]]
    assert scores == sorted(scores, reverse=True) and both[0] != first


def test_equal_candidates_stay_in_their_order(
    discriminator: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "nbest").write_text("The cat\tthe cat\tTHE CAT")
    (line,) = said(Score(discriminator, str(tmp_path / "nbest"), rescore=True), capfdbinary)
    assert [one["place"] for one in line["candidates"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"candidates": ["a"', "line 3 is not valid JSON"),
        (b'{"texts": ["a"]}', 'line 3: holds no texts as "candidates"'),
        (b'{"candidates": ["a", 3]}', "line 3: holds no texts"),
        (b'{"candidates": ["a\\ud800"]}', "line 3: a candidate holds half a character"),
        (b"a\xe9b", r"line 3 is not UTF-8 \(byte 2 of it is 0xe9\)"),
    ],
)
def test_damaged_lines(line: bytes, message: str, discriminator: str, tmp_path: Path) -> None:
    (tmp_path / "nbest").write_bytes(b"a\tthe\n\n" + line + b"\nthe\n")
    with pytest.raises(UserError, match=message) as caught:
        score(Score(discriminator, str(tmp_path / "nbest"), rescore=True))
    assert "\n" not in str(caught.value)


def test_lines_before_a_damaged_one_are_answered(
    discriminator: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfthe\ncat\n\xff\nmat")))
    capfdbinary.readouterr()
    with pytest.raises(UserError, match="standard input: line 3 is not UTF-8"):
        score(Score(discriminator))
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["the", "cat"]


def test_what_cannot_be_done(discriminator: str, bert: str, tmp_path: Path) -> None:
    for how, message in (
        (Score(bert), "has no discriminator, which --by rtd needs"),
        (Score(discriminator, threshold=1.5), "--threshold 1.5: it is a probability"),
        (Score(discriminator, by="pll"), "words are judged by rtd"),
        (Score(discriminator, str(tmp_path / "none")), "cannot be read"),
        (Score(discriminator, str(tmp_path)), "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            score(how)


def test_a_line_is_there_before_the_next_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe whose writer waits for each line to come out at the other end."""
    out, into = os.pipe()
    came = threading.Event()

    def write() -> None:
        with os.fdopen(into, "wb", buffering=0) as file:
            for line in (b"one\ntw", b"o\n", b"three"):
                file.write(line)
                if line.endswith(b"\n"):
                    assert came.wait(10)
                    came.clear()

    writer = threading.Thread(target=write)
    monkeypatch.setattr(sys, "stdin", os.fdopen(out, "r"))
    writer.start()
    got = []
    for lines in chunks("-"):
        got += lines
        if "two" in lines:
            came.set()
    writer.join()
    assert got == ["one", "two", "three"]


def test_lines_at_any_size_of_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = "é\n\nlonger than what is read\r\n\nno end".encode()
    (tmp_path / "text").write_bytes(raw)
    for size in (1, 3, 1000):
        monkeypatch.setattr("electrain.zeroshot.lines.AT_ONCE", size)
        got = [line for lines in chunks(str(tmp_path / "text")) for line in lines]
        assert got == ["é", "", "longer than what is read", "", "no end"]
