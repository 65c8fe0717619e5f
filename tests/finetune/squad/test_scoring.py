"""Marks by the official rules: cases worked out by hand, thresholds against all of them tried, published scores."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electrain.errors import UserError
from electrain.finetune.squad.scoring import (
    best,
    exact,
    f1,
    figures,
    marks_v1,
    marks_v2,
    normalise,
    score_file,
    silenced,
    with_thresholds,
)
from electrain.finetune.squad.sources import Name

DATA = next(
    (up / "shared/data/squad" for up in Path(__file__).resolve().parents if (up / "shared/data").is_dir()), None
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Normans", "normans"),
        ("an a the", ""),
        ("A.", ""),
        ("U.S.A.", "usa"),
        ("a-b", "ab"),  # punctuation goes first: no article is left standing alone
        ("the\tquick\n fox ", "quick fox"),
        ("theatre, anthem", "theatre anthem"),
        ("$1,000.50", "100050"),
        ("“The” end", "“ ” end"),  # curly quotes are no ASCII punctuation, and border a word
        ("Łódź – Ünïcode", "łódź – ünïcode"),
        ("20th\u00a0century", "20th century"),  # a no-break space is white space
        ("ÀN", "àn"),  # no article
    ],
)
def test_normalisation(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("gold", "said", "same", "share"),
    [
        ("Denver Broncos", "the Denver Broncos!", 1, 1),
        ("Denver Broncos", "Broncos", 0, 2 / 3),
        ("x x y", "x x x", 0, 2 / 3),  # a word counts as often as both have it: 2 of 3, 2 of 3
        ("x", "x x x x", 0, 2 / 5),  # precision 1/4, recall 1
        ("one two", "three", 0, 0),
        ("Caf\u00e9", "Cafe\u0301", 0, 0),  # composed and decomposed are different texts to the scripts
        ("Café", "café", 1, 1),
        ("10-15", "1015", 1, 1),
    ],
)
def test_marks_of_a_pair(gold: str, said: str, same: float, share: float) -> None:
    assert exact(gold, said) == same
    assert f1(gold, said) == pytest.approx(share)


@given(st.lists(st.sampled_from("uvwxyz"), max_size=8), st.lists(st.sampled_from("uvwxyz"), max_size=8))
def test_f1_counts_each_word_once(gold: list[str], said: list[str]) -> None:
    left, common = list(gold), 0
    for word in said:
        if word in left:
            left.remove(word)
            common += 1
    precision, recall = common / max(1, len(said)), common / max(1, len(gold))
    expected = 2 * precision * recall / (precision + recall) if common else 0.0
    assert f1(" ".join(gold), " ".join(said)) == pytest.approx(expected)


def test_the_best_gold_answer_counts() -> None:
    marks = marks_v1([["red fox", "fox"], ["blue"], ["one two", "two three four"]], ["fox", "green", "two three"])
    np.testing.assert_allclose(marks.exact, [1, 0, 0])
    np.testing.assert_allclose(marks.f1, [1, 0, 4 / 5])


def test_empty_answers() -> None:
    """2.0: 1 only if both are empty. 1.1: nothing in common is 0, though the texts be the same."""
    golds = [[], [""], ["the"], ["x"], [], ["a", "x"]]
    said = ["", "x", "The", "", "a", "x"]
    two = marks_v2(golds, said)
    np.testing.assert_array_equal(two.exact, [1, 0, 1, 0, 1, 1])
    np.testing.assert_array_equal(two.f1, [1, 0, 1, 0, 1, 1])
    one = marks_v1([["the"], ["x"]], ["The", ""])
    np.testing.assert_array_equal(one.exact, [1, 0])
    np.testing.assert_array_equal(one.f1, [0, 0])


def test_figures_by_hand() -> None:
    answerable = np.array([True, True, False, False])
    marks = marks_v2([["x"], ["x y"], [], []], ["x", "y", "z", ""])
    assert figures(marks, answerable) == pytest.approx(
        {
            "exact": 2 / 4,
            "f1": (1 + 2 / 3 + 0 + 1) / 4,
            "HasAns_exact": 1 / 2,
            "HasAns_f1": (1 + 2 / 3) / 2,
            "NoAns_exact": 1 / 2,
            "NoAns_f1": 1 / 2,
        }
    )
    assert set(figures(marks, np.ones(4, bool))) == {"exact", "f1"}


def test_thresholds_by_hand() -> None:
    answerable, given_ = np.array([True, False, True, False]), np.ones(4, bool)
    marks = marks_v2([["x"], [], ["x"], []], ["x", "z", "y", "z"])
    odds = np.array([-5.0, 1.0, -3.0, -2.75])
    made, thresholds = with_thresholds(marks, answerable, given_, odds, -2.75)
    # Only 1.0 lies above: the second question is right, the fourth (equal to the threshold) is not.
    assert made["exact"] == 2 / 4
    # Silence above -5: right are the first (answered) and both without an answer.
    assert made["best_exact"] == made["best_f1"] == 3 / 4
    assert thresholds == {"best_exact_thresh": -5.0, "best_f1_thresh": -5.0}


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_best_threshold_is_the_best_of_all(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    answerable, given_ = random.random(count) < 0.5, random.random(count) < 0.8
    mark = np.where(answerable, random.integers(0, 3, count) / 2 * given_, (~given_).astype(float))
    odds = random.permutation(count) - count / 2  # all different: equal ones are the script's own affair
    marks = marks_v1([["x"]] * count, ["x"] * count)._replace(exact=mark, f1=mark)
    tried = {cut: silenced(marks, answerable, odds, cut).f1.mean() for cut in [float("-inf"), *odds]}
    found = best(mark, answerable, given_, odds)
    assert found.score == pytest.approx(max(tried.values()))
    assert tried[found.threshold] == pytest.approx(found.score)


@pytest.mark.skipif(DATA is None, reason="the SQuAD dev sets are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "data", "rules"),
    [("v1.1-rnet-plus-ensemble", "dev-v1.1.json.gz", "squad"), ("v2.0-bert-single", "dev-v2.0.json.gz", "squad2")],
)
def test_published_scores(name: str, data: str, rules: Name) -> None:
    assert DATA is not None
    figure = score_file(DATA / data, DATA / f"predictions-{name}.json.gz", rules)
    published = json.loads((DATA / "predictions-expected-scores.json").read_text())[name]
    for key, value in published.items():
        if not key.endswith("total"):
            assert 100 * figure[key] == pytest.approx(value, abs=1e-9), key


def small(folder: Path, predictions: dict, odds: dict) -> tuple[Path, Path, Path]:
    qas = [
        {"id": "a", "question": "?", "answers": [{"text": "b c", "answer_start": 2}], "is_impossible": False},
        {"id": "n", "question": "?", "answers": [], "is_impossible": True},
    ]
    data = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "a b c d", "qas": qas}]}]}
    paths = folder / "dev.json", folder / "predictions.json", folder / "odds.json.gz"
    for path, content in zip(paths, (data, predictions, odds), strict=True):
        path.write_bytes((gzip.compress if path.suffix == ".gz" else bytes)(json.dumps(content).encode()))
    return paths


def test_a_file_with_null_odds(tmp_path: Path) -> None:
    data, said, odds = small(tmp_path, {"a": "c", "n": "d", "other": "is left alone"}, {"a": -1.0, "n": 2.0})
    assert score_file(data, said, "squad2", odds, 0.0) == pytest.approx(
        {"exact": 0.5, "f1": (2 / 3 + 1) / 2, "HasAns_exact": 0, "HasAns_f1": 2 / 3, "NoAns_exact": 1, "NoAns_f1": 1}
        | {"best_exact": 0.5, "best_f1": (2 / 3 + 1) / 2, "best_exact_thresh": float("-inf"), "best_f1_thresh": -1.0}
    )
    assert score_file(data, said, "squad2", odds, 5.0)["exact"] == 0
    assert score_file(data, said, "squad2")["NoAns_f1"] == 0


def test_bad_files(tmp_path: Path) -> None:
    data, said, odds = small(tmp_path, {"a": "c"}, {"a": "high", "n": 1})
    with pytest.raises(UserError, match=r"nothing for 1 of 2 questions, such as 'n'"):
        score_file(data, said, "squad2")
    said.write_text('{"a": "c", "n": ""}')
    with pytest.raises(UserError, match="other things than numbers"):
        score_file(data, said, "squad2", odds)
    said.write_text('["a"]')
    with pytest.raises(UserError, match="not an object of question ids"):
        score_file(data, said, "squad2")
    with pytest.raises(UserError, match="no such file"):
        score_file(data, tmp_path / "missing.json", "squad2")
