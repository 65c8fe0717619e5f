"""What the fuzzer once brought out as something else than one line: each input by hand, refused for its own reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from electrain.data import frequencies
from electrain.data.corpus import Layout, list_files
from electrain.data.folder import finished
from electrain.data.pieces import cut
from electrain.data.shards import Shards
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.errors import UserError
from electrain.finetune.squad.loading import parse
from electrain.finetune.squad.saved import load as load_squad
from electrain.finetune.squad.scoring import score_file
from electrain.finetune.tables import read_table
from electrain.hub.card import _metrics
from electrain.study.conduct import _begin
from electrain.study.figures import Figures, _log
from tests.cache.conftest import with_tokenizer
from tests.trust.test_places import sealed

DEEP = "[" * 100_000
GIANT = "9" * 5000


def refused(call: Callable[[], Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1\x15\x04\x15\x00 no footer of thrift \x00\x10\x00\x00\x00PAR1")
    refused(lambda: cut([list_files(str(path), Layout())], Layout()), "not a parquet file, or a damaged one")
    refused(lambda: read_table(path), "not a readable parquet file")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_table_nested_too_deep(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(DEEP if name == "a.json" else '{"text": ' + DEEP)
    refused(lambda: read_table(tmp_path / name), "not JSON")


def test_a_number_of_thousands_of_digits() -> None:
    refused(lambda: parse(f'{{"data": {GIANT}}}', "a.json"), "a.json: damaged JSON .*digits")


def test_odds_beyond_all_numbers_and_no_questions(tmp_path: Path) -> None:
    question = {"id": "q", "question": "Who?", "answers": [{"text": "cat", "answer_start": 4}]}
    files = {
        "dev.json": {"data": [{"paragraphs": [{"context": "the cat", "qas": [question]}]}]},
        "none.json": {"data": []},
        "said.json": {"q": "cat"},
    }
    for name, tree in files.items():
        (tmp_path / name).write_text(json.dumps(tree))
    (tmp_path / "odds.json").write_text('{"q": ' + "9" * 400 + "}")
    said = tmp_path / "said.json"
    assert score_file(tmp_path / "dev.json", said, "squad2") == {"exact": 1.0, "f1": 1.0}
    refused(
        lambda: score_file(tmp_path / "dev.json", said, "squad2", tmp_path / "odds.json"), "other things than numbers"
    )
    refused(lambda: score_file(tmp_path / "none.json", said, "squad2"), "holds no questions")


@pytest.mark.parametrize("size", [2**24 + 1, 2**40])
def test_a_vocabulary_that_would_take_all_memory(tmp_path: Path, size: int) -> None:
    data = with_tokenizer(tmp_path / "data")
    path = data / "manifest.json"
    tree = json.loads(path.read_text())
    sealed(path, {**tree, "dtype": "uint32", "vocab": {**tree["vocab"], "size": size}})
    refused(lambda: Shards.open(data), f"a vocabulary of {size} tokens")


def tokenizer(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    with_tokenizer(folder / "data")
    path = folder / "data/tokenizer/tokenizer.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize("number", [2**31, 2**24, -1, 1.5, True])
def test_a_token_with_a_giants_number(tmp_path: Path, number: object) -> None:
    path = tokenizer(tmp_path, lambda tree: tree["model"]["vocab"].update(w7=number))
    for place in (path, path.parent):
        refused(lambda place=place: load_tokenizer(place), "no tokenizer could be loaded")


def test_a_tokenizer_that_fails_on_text(tmp_path: Path) -> None:
    """Its token for the unknown is none of its tokens: known words go well."""

    def forget(tree: dict[str, Any]) -> None:
        tree["model"]["unk_token"] = "[NONE]"
        del tree["model"]["vocab"]["[UNK]"]
        tree["added_tokens"] = [token for token in tree["added_tokens"] if token["content"] != "[UNK]"]

    path = tokenizer(tmp_path, forget)
    for place in (path, path.parent):
        refused(lambda place=place: vocab_of(load_tokenizer(place)), "no tokenizer could be loaded|for the unknown")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((\n"])
def test_frequencies_that_are_none(tmp_path: Path, content: bytes) -> None:
    data = with_tokenizer(tmp_path / "data")
    assert frequencies.load(data).shape == (200,)
    (data / "frequencies.npy").write_bytes(content)
    refused(lambda: frequencies.load(data), "frequencies.npy: ")
    for wrong in (np.zeros(199, np.int64), np.zeros(200), np.full(200, -1), np.zeros((200, 1), np.int64)):
        np.save(data / "frequencies.npy", wrong)
        refused(lambda: frequencies.load(data), "frequencies.npy: ")


@pytest.mark.parametrize("line", [b"{", b"\xff", DEEP.encode(), b"3", b'{"kind": "train", "step": "x"}', b""])
def test_a_log_that_is_damaged(tmp_path: Path, line: bytes) -> None:
    good = b'{"kind": "train", "step": 2, "tokens_per_second": 3.5}\n{"kind": "eval", "step": 2, "loss": 1.5}\n'
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(good)
    assert len(_log(tmp_path)) == 2 and _metrics(path, 2) == (2, {"loss": 1.5})
    path.write_bytes((good if line else b"") + line)
    refused(lambda: _log(tmp_path), "metrics.jsonl: cannot be read")
    assert _metrics(path, 2) == ((2, {"loss": 1.5}) if line else None)


@pytest.mark.parametrize("text", [DEEP, "[]", "null", '{"recipe": 3}', "{"])
def test_figures_and_plans_that_are_none(tmp_path: Path, text: str) -> None:
    for name in ("figures.json", "study.json"):
        (tmp_path / name).write_text(text)
    refused(lambda: Figures.load(tmp_path / "figures.json"), "figures.json: cannot be read")
    refused(lambda: _begin(tmp_path, {"study": "ladder"}), "study")
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work/settings.json").write_text(text)
    refused(lambda: finished(tmp_path, {"corpus": ["a"]}), "unfinished preparation of another kind")


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04\x95", b"\xff" * 100])
def test_a_question_answerer_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "config.json").write_text("{}")
    refused(lambda: load_squad(tmp_path), "no model can be read there")
