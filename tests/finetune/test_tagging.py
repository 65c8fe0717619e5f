"""Tagging: entities against a brute force, CoNLL's columns, words and their tokens, cutting, figures, bad input."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from electrain.data.tokenizer import train_tokenizer, vocab_of
from electrain.errors import UserError
from electrain.finetune.conll import of_table, read_conll, write_conll
from electrain.finetune.entities import Entity, chunked, entities, judge
from electrain.finetune.heads import IGNORE
from electrain.finetune.tables import read_table
from electrain.finetune.tagging import TaggingTask
from electrain.finetune.texts import core_of
from electrain.finetune.words import cut, tokens_of
from tests.finetune.kit import TOKENIZER, VOCAB, wrote


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("I-P I-P O I-L", "P02 L34"),  # IOB1
        ("I-P B-P I-P I-L", "P01 P13 L34"),  # IOB1: neighbours of one kind, then another kind
        ("B-P I-P B-P O B-L", "P02 P23 L45"),  # IOB2
        ("S-P B-L I-L E-L S-L O", "P01 L14 L45"),  # BIOES
        ("B-P E-P B-P E-P", "P02 P24"),
        ("U-P B-L I-L L-L U-L", "P01 L14 L45"),  # BILOU
        ("B-P M-P E-P S-L", "P03 L34"),  # BMES
        ("E-P E-P I-P", "P01 P12 P23"),  # forgiven as conlleval does: what follows an end begins
        ("B-P I-L I-L", "P01 L13"),  # a change of kind ends and begins
        ("O O", ""),
        ("", ""),
        ("B-a-b I-a-b", "a-b02"),
    ],
)
def test_entities_by_hand(tags: str, found: str) -> None:
    expected = {Entity(kind, int(a), int(b)) for kind, a, b in re.findall(r"([a-zA-Z-]+)(\d)(\d)", found)}
    assert entities(tags.split()) == expected


def starts(tags: list[str], i: int) -> bool:
    """conlleval's table of what begins a chunk (Tjong Kim Sang), and S."""
    before, tag = (tags[i - 1] if i else "O"), tags[i]
    (b, bk), (t, tk) = (x.partition("-")[::2] for x in (before, tag))
    listed = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I"), ("E", "E"), ("E", "I"), ("O", "E"), ("E", "B")}
    return (b, t) in listed or t == "S" or (b == "S" and t != "O") or (t != "O" and bk != tk)


def brute(tags: list[str]) -> set[Entity]:
    """Every span of which the first word begins a chunk, no other does, none is outside, and the next ends it."""
    spans = set()
    for start, end in itertools.combinations(range(len(tags) + 1), 2):
        inside = tags[start:end]
        if "O" in inside or not starts(tags, start) or any(starts(tags, i) for i in range(start + 1, end)):
            continue
        if end == len(tags) or tags[end] == "O" or starts(tags, end):
            spans.add(Entity(inside[0].partition("-")[2], start, end))
    return spans


TAGS = st.lists(st.sampled_from(["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in "PL")]), max_size=9)


@given(TAGS)
def test_entities_by_brute_force(tags: list[str]) -> None:
    assert entities(tags) == brute(tags)


def test_figures_by_hand() -> None:
    gold = [["B-P", "I-P", "O", "B-L"], ["O", "B-P"]]
    said = [["B-P", "I-P", "O", "B-P"], ["B-P", "B-P"]]  # said 4: P02, P34, P01, P12; right: P02, P12 of 3
    found = judge(said, gold)
    assert found == pytest.approx((2 / 4, 2 / 3, 4 / 7, 4 / 6))
    assert judge([["O"]], [["O"]]) == (0, 0, 0, 1)
    assert chunked(["B-P", "O"]) and not chunked(["NN", "IN", "I"])


CONLL = """-DOCSTART- -X- O O

The DT B-NP O
cat NN I-NP B-P

-DOCSTART- -X- O O

Paris NNP B-NP I-L
sat VBD O O

"""


def test_conll_is_read_and_written(tmp_path: Path) -> None:
    file = wrote(tmp_path / "eng.train", CONLL)
    read = read_conll(file)
    assert read.words == [["The", "cat"], ["Paris", "sat"]] and read.tags == [["O", "B-P"], ["I-L", "O"]]
    assert read_conll(file, 3).tags == [["B-NP", "I-NP"], ["B-NP", "O"]] and read.places[1].endswith("line 8")
    back = read_conll(write_conll(tmp_path / "out" / "dev.conll", [read.words, read.tags]))
    assert (back.words, back.tags) == (read.words, read.tags)
    tabs = read_conll(wrote(tmp_path / "t.tsv", "New York\tB-L\r\nsat\tO\r\n"))
    assert tabs.words == [["New York", "sat"]] and tabs.tags == [["B-L", "O"]]
    assert read_conll(wrote(tmp_path / "w.txt", "a\nb\n")).tags is None
    for text, column, said in (
        ("a O\nb\n", None, "line 2: 1 columns where the first line has 2"),
        ("a O\n", 3, "line 1: no column 3 for tags; there are 2"),
        ("\n \n", None, "the file is empty"),
        ("-DOCSTART- O\n", None, "no words"),
    ):
        with pytest.raises(UserError, match=said):
            read_conll(wrote(tmp_path / "bad.txt", text), column)


def test_lists_of_a_data_set(tmp_path: Path) -> None:
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-P"]))})
    made = Dataset.from_dict({"tokens": [["a", "cat"], ["b"]], "ner_tags": [[0, 1], [1]]}, features=features)
    made.to_parquet(tmp_path / "train.parquet")
    assert of_table(read_table(tmp_path / "train.parquet")).tags == [["O", "B-P"], ["B-P"]]
    rows = [{"words": ["a", "cat"], "tags": ["O", "B-P"]}, {"words": ["b"], "tags": ["O", "O"]}]
    bad = wrote(tmp_path / "bad.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"row 2 \(line 2\): 1 words in 'words', 2 tags in 'tags'"):
        of_table(read_table(bad))
    with pytest.raises(UserError, match=r"row 1 .*'words' is an empty list"):
        of_table(read_table(wrote(tmp_path / "e.jsonl", '{"words": [], "tags": []}\n')))
    with pytest.raises(UserError, match="'words' holds str, not a list"):
        of_table(read_table(wrote(tmp_path / "s.jsonl", '{"words": "a b", "tags": "O O"}\n')))


def test_words_are_tokens_as_transformers_makes_them() -> None:
    sentences = [["The", "cat", "singing!", "mat."], ["paris"], ["zzz", "on", "on"]]
    ours = tokens_of(core_of(TOKENIZER, VOCAB), VOCAB, sentences)
    theirs = TOKENIZER(sentences, is_split_into_words=True)
    for row, words in enumerate(ours):
        assert [VOCAB.cls, *itertools.chain(*words), VOCAB.sep] == theirs["input_ids"][row]
        owners = [number for number, word in enumerate(words) for _ in word]
        assert [None, *owners, None] == theirs.word_ids(row)
    # Nothing is left of a control character; a special token's name is a text.
    odd = tokens_of(core_of(TOKENIZER, VOCAB), VOCAB, [["\x00", "[SEP]", "a b"]])[0]
    assert odd[0] == [VOCAB.unk] and VOCAB.sep not in odd[1] and len(odd[2]) == 2


def test_a_tokenizer_of_bytes() -> None:
    """It tells a word after a space from one without: words are read as in a text."""
    tokenizer = train_tokenizer(["the cat sat on the mat ünd so on"] * 20, "bytes", 300, 1)
    vocab = vocab_of(tokenizer)
    words = ["the", "cat", "ünd", "mat", ",", "on"]
    (found,) = tokens_of(core_of(tokenizer, vocab), vocab, [words])
    assert list(itertools.chain(*found)) == tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode(word).strip() for word in found] == words


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(8, 14))
def test_cutting_keeps_every_word_once(sizes: list[int], length: int) -> None:
    words = [[10 * number + k for k in range(size)] for number, size in enumerate(sizes)]
    made = cut([words], [list(range(len(words)))], VOCAB, length)
    seen = []
    for row, piece in zip(made.rows, made.pieces, strict=True):
        assert len(row.ids) == row.second <= length and (row.ids[0], row.ids[-1]) == (VOCAB.cls, VOCAB.sep)
        assert row.target[piece.places].tolist() == list(range(piece.word, piece.word + len(piece.places)))
        assert (np.delete(row.target, piece.places) == IGNORE).all()
        assert [row.ids[place] for place in piece.places] == [words[number][0] for number in row.target[piece.places]]
        seen += row.target[piece.places].tolist()
    assert seen == list(range(len(words)))
    assert sum(len(row.ids) - 2 for row in made.rows) == sum(min(size, length - 2) for size in sizes)
    assert made.long == sum(size > length - 2 for size in sizes) and made.cut == (len(made.rows) > 1)


def folder(path: Path, dev: str = CONLL, train: str = CONLL) -> Path:
    wrote(path / "eng.train", train)
    wrote(path / "eng.testa", dev)
    wrote(path / "eng.testb", "The DT B-NP O\n" + "cat NN I-NP O\n" * 9)
    return path


def tag(source: Path, **more: object) -> TaggingTask:
    return TaggingTask("ner", source, TOKENIZER, VOCAB, **more)  # type: ignore[arg-type]


def answers(task: TaggingTask, split: str, tags: list[list[str]]) -> list[tuple[np.ndarray, ...]]:
    """Logits that say these tags, padded as a batch would be."""
    cut = task._cut(split)
    out = []
    for row, piece in zip(cut.rows, cut.pieces, strict=True):
        logits = np.random.default_rng(0).normal(size=(len(row.ids) + 3, len(task.labels))).astype(np.float32)
        for number, place in enumerate(piece.places):
            logits[place, task.labels.index(tags[piece.sentence][piece.word + number])] = 9
        out.append((logits,))
    return out


def test_a_task_from_end_to_end(tmp_path: Path) -> None:
    task = tag(folder(tmp_path), length=8)
    assert task.labels == ("O", "B-P", "I-L") and task.judged == ("dev",) and task.unknown == ("test",)
    assert task.metric == "f1" and len(task.rows("test")) > 1
    said = [["O", "B-P"], ["O", "O"]]
    assert task.score("dev", answers(task, "dev", said)) == pytest.approx(
        {"precision": 1, "recall": 0.5, "f1": 2 / 3, "accuracy": 3 / 4}
    )
    (path,) = task.write("dev", answers(task, "dev", said), tmp_path / "out")
    assert path.read_text() == "The O O\ncat B-P B-P\n\nParis I-L O\nsat O O\n"
    (path,) = task.write("test", answers(task, "test", [["B-P"] * 10]), tmp_path / "out")
    assert path.read_text() == "The O B-P\n" + "cat O B-P\n" * 9
    lines = "\n".join(task.about())
    assert "train: 2 sentences, 4 words" in lines and "tags in column 4 of 4" in lines
    assert "test: 1 sentences, 10 words; 1 sentences longer than 8 tokens are read in pieces" in lines
    bad = answers(task, "dev", said)
    bad[1][0][1] = np.nan
    with pytest.raises(UserError, match=r"ner, dev, sentence 2.*not a number"):
        task.score("dev", bad)


def test_classes_that_mark_no_entities(tmp_path: Path) -> None:
    task = tag(folder(tmp_path), label="2")
    assert task.labels == ("DT", "NN", "NNP", "VBD") and task.metric == "accuracy"
    assert task.score("dev", answers(task, "dev", [["DT", "NN"], ["NN", "NN"]])) == {"accuracy": 0.5}


def test_tags_that_training_has_not(tmp_path: Path) -> None:
    """Another letter of a known kind is counted as missed and said; another kind is an error."""
    task = tag(folder(tmp_path, CONLL.replace("I-L", "B-L")))
    assert any("1 of B-L, which training has not" in line for line in task.about())
    assert task.score("dev", answers(task, "dev", [["O", "B-P"], ["I-L", "O"]]))["recall"] == 1
    assert (task.rows("dev")[1].target == IGNORE).sum() == len(task.rows("dev")[1].ids) - 1
    for dev, more, said in (
        (CONLL.replace("I-L", "I-M"), {}, r"eng\.testa, line 8, word 1 of the sentence: tag 'I-M' does not occur"),
        ("a\n", {}, "words without tags"),
        (CONLL, {"label": "ner"}, "--label 'ner' must be a number"),
        (CONLL, {"train": (tmp_path / "none",)}, "no such file"),
    ):
        with pytest.raises(UserError, match=said):
            tag(folder(tmp_path, dev), **more)
    with pytest.raises(UserError, match="every word has the tag 'O'"):
        tag(folder(tmp_path, "a O\n", "a O\n"))
    with pytest.raises(UserError, match="no 'dev' split to tag"):
        tag(tmp_path / "eng.train")
