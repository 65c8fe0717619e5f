"""The main parsers give back what was written, and refuse everything else in one line: properties."""

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from electrain.cache.format import Binding, Part
from electrain.cache.format import Manifest as CacheManifest
from electrain.data.corpus import Layout, list_files
from electrain.data.manifest import Manifest
from electrain.data.pieces import cut
from electrain.data.reading import Rules, Tally, read
from electrain.errors import UserError
from electrain.escaping import fenced, markdown, message
from electrain.finetune.conll import read_conll
from electrain.finetune.results import Result, Results
from electrain.finetune.squad.reading import read as read_squad
from electrain.finetune.tables import read_table
from electrain.zeroshot.measures import Measure
from electrain.zeroshot.pairs import read as read_pairs
from electrain.zeroshot.rescore import rescored

many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda text: text.strip())
json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def or_refused(call: Callable[[], Any]) -> Any:
    """What a call returns; None where it refuses its input in one line."""
    try:
        return call()
    except UserError as error:
        assert str(error).strip()
        assert "\n" not in message(str(error))
        return None


def documents(path: Path, documents: Any = "files") -> list[str]:
    layout = Layout(documents=documents)
    tasks = cut([list_files(str(path), layout)], layout)
    return [text for task in tasks for piece in task for text in read(piece, layout, Rules(), Tally())]


@many
@given(st.lists(texts, min_size=1, max_size=6))
def test_jsonl_comes_back(tmp_path: Path, given: list[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in given), encoding="utf-8")
    assert documents(path) == [text.strip() for text in given]


@many
@given(st.binary(max_size=60), st.sampled_from(["a.txt", "a.jsonl", "a.txt.gz", "a.jsonl.zst", "a.parquet"]))
def test_any_bytes_are_a_corpus_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = or_refused(lambda: documents(path))
    if name == "a.txt" and found:
        assert found == [content.decode().removeprefix("\ufeff").strip()]


@many
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_csv_comes_back(tmp_path: Path, given: list[tuple[str, str]]) -> None:
    given = [(one.replace("\0", "0"), two.replace("\0", "0")) for one, two in given]
    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *given])
    path = tmp_path / "a.csv"
    path.write_text(sink.getvalue(), encoding="utf-8", newline="")
    table = read_table(path)
    assert list(zip(table.columns["text"], table.columns["label"], strict=True)) == given


@many
@given(st.lists(json_trees, max_size=4), st.sampled_from(["a.jsonl", "a.json"]))
def test_any_json_is_a_table_or_refused(tmp_path: Path, trees: list[Any], name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(trees) if name == "a.json" else "\n".join(map(json.dumps, trees)))
    if table := or_refused(lambda: read_table(path)):
        assert {len(column) for column in table.columns.values()} == {len(table)}


@many
@given(json_trees)
def test_any_json_is_a_question_set_or_refused(tmp_path: Path, tree: Any) -> None:
    for content in (tree, {"data": tree}, {"data": [{"paragraphs": tree}]}, {"data": [{"paragraphs": [tree]}]}):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        or_refused(lambda path=path: read_squad(path))


@many
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("OBX")), min_size=1), min_size=1, max_size=4)
)
def test_conll_comes_back(tmp_path: Path, sentences: list[list[tuple[str, str]]]) -> None:
    path = tmp_path / "a.conll"
    path.write_text("\n".join("".join(f"{word} {tag}\n" for word, tag in words) for words in sentences))
    found = read_conll(path)
    assert found.words == [[word for word, _ in words] for words in sentences]
    assert found.tags == [[tag for _, tag in words] for words in sentences]


@many
@given(st.binary(max_size=80))
def test_any_bytes_are_pairs_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    or_refused(lambda: read_pairs(str(tmp_path)))


@many
@given(json_trees)
def test_any_json_is_a_manifest_or_refused(tmp_path: Path, tree: Any) -> None:
    for content in (tree, {"version": 1, "checksum": "", "dtype": "uint16", "vocab": tree}):
        (tmp_path / "manifest.json").write_text(json.dumps(content))
        assert or_refused(lambda: Manifest.load(tmp_path)) is None


@many
@given(st.data())
def test_a_cache_of_other_types_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    """With a checksum that is right, so that only the fields themselves can tell."""
    good = Binding("d", "t", "g", "p", 16, 300, 0.15, 0.85, 2, 2, 0, 4)
    CacheManifest(good, "", Part(8, 4, ("0", "1")), None).save(tmp_path)
    assert CacheManifest.load(tmp_path).binding == good
    path = tmp_path / "cache.json"
    tree = json.loads(path.read_text())
    part = tree[data.draw(st.sampled_from(["binding", "train"]))]
    name = data.draw(st.sampled_from(sorted(part)))
    part[name] = data.draw(json_trees.filter(lambda value: type(value) is not type(part[name])))
    path.write_text(json.dumps(tree))
    with pytest.raises(UserError, match="damaged"):
        CacheManifest.load(tmp_path)


@many
@given(json_trees)
def test_a_line_of_results_that_is_none_is_refused(tmp_path: Path, tree: Any) -> None:
    folder = tmp_path / "task"
    results = Results(folder, {"lr": 1}, {})
    (folder / "results.jsonl").write_text(json.dumps(tree) + "\n")
    with pytest.raises(UserError, match="line 1"):
        results.done()
    result = Result(0, "f1", 0.5, {"dev": {"f1": 0.5}}, float("nan"), 3, 1.0)
    (folder / "results.jsonl").write_text(json.dumps(vars(result)) + '\n{"seed": 1, "met')
    assert results.done()[0].scores == result.scores


def lengths() -> Measure:
    """A measure without a model: a text is worth its length."""
    judge = object.__new__(Measure)
    object.__setattr__(judge, "sums", lambda texts: np.array([float(len(text)) for text in texts]))
    return judge


@many
@given(st.dictionaries(st.text(max_size=4), json_trees, max_size=3), json_trees)
def test_candidates_are_sorted_or_refused(beside: dict[str, Any], candidates: Any) -> None:
    line = json.dumps({**beside, "candidates": candidates})
    made = or_refused(lambda: rescored(lengths(), [line], "a", 0))
    texts = isinstance(candidates, list) and all(isinstance(text, str) for text in candidates)
    if made is None or not texts:
        assert made is None
        assert not texts or "\\ud" in line  # half a character
    else:
        assert [one["text"] for one in made[0]["candidates"]] == sorted(candidates, key=len, reverse=True)


@many
@given(st.text(max_size=60))
def test_markdown_cannot_be_left(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown and "<" not in shown
    bare = shown.replace("\\\\", "").replace("\\|", "").replace("\\`", "").replace("\\[", "").replace("\\]", "")
    assert not set("|`[]") & set(bare)
    lines = fenced(text.replace("\r", "")).split("\n")
    assert set(lines[0]) == {"`"} and lines[-1] == lines[0]
    assert all(lines[0] not in line for line in lines[1:-1])


@many
@given(st.text(max_size=200))
def test_a_message_is_one_line_without_control(text: str) -> None:
    shown = message(text)
    assert not {unicodedata.category(sign) for sign in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
