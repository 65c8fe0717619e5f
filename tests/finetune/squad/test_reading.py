"""Every layout gives the same questions; answers are found where they stand; bad files get one line with the place."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from electrain.errors import UserError
from electrain.finetune.squad.reading import Question, locate, read
from electrain.finetune.squad.sources import Files, Hub, Name, find

PASSAGE = "Rome fell. Rome rose. Ünï 中文 end."
FIRST = Question("1", "What fell?", PASSAGE, ("Rome", "Rome fell"), (0, 4), False)
SECOND = Question("2", "What rose?", PASSAGE, ("Rome",), (11, 15), False)
NONE = Question("3", "What stood?", PASSAGE, (), None, True)


def squad(qas: list[dict], context: str = PASSAGE) -> dict:
    return {"version": "x", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]}


def qa(number: Any, question: str, *answers: tuple[str, int], **more: Any) -> dict:
    return {
        "id": number,
        "question": question,
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
        **more,
    }


QAS = [
    qa("1", "What fell?", ("Rome", 0), ("Rome fell", 0)),
    qa("2", "What rose?", ("Rome", 11), is_impossible=False),
    qa("3", "What stood?", is_impossible=True),
]


def test_squad_plain_and_compressed(tmp_path: Path) -> None:
    text = json.dumps(squad(QAS))
    (tmp_path / "a.json").write_text("\ufeff" + text, encoding="utf-8")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.json", "a.json.gz"):
        reading = read(tmp_path / name)
        assert reading.questions == (FIRST, SECOND, NONE)
        assert (reading.moved, reading.lost) == (0, 0)


def test_mrqa(tmp_path: Path) -> None:
    """A header, spans whose last character is in, gold answers beside them; a text that differs from its span."""
    lines = [
        {"header": {"dataset": "x"}},
        {
            "context": PASSAGE,
            "qas": [
                {
                    "qid": "1",
                    "id": "other",
                    "question": "What fell?",
                    "answers": ["Rome", "Rome fell"],
                    "detected_answers": [{"text": "rome", "char_spans": [[0, 3], [11, 14]], "token_spans": [[0, 0]]}],
                },
                {
                    "qid": "2",
                    "question": "What rose?",
                    "answers": ["Rome"],
                    "detected_answers": [{"text": "Rome", "char_spans": [[14, 17]]}],
                },
            ],
        },
    ]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode() + b"\n\n"))
    reading = read(path)
    assert reading.questions == (FIRST, SECOND)
    assert reading.moved == 1


def test_columns_of_the_hub(tmp_path: Path) -> None:
    """The same call that reads a name from the Hub reads a folder of parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(texts: list[str], starts: list[int]) -> dict:
        return {"text": texts, "answer_start": starts}

    table = pa.table(
        {
            "id": ["1", "2", "3"],
            "title": ["t"] * 3,
            "context": [PASSAGE] * 3,
            "question": ["What fell?", "What rose?", "What stood?"],
            "answers": [column(["Rome", "Rome fell"], [0, 0]), column(["Rome"], [11]), column([], [])],
        }
    )
    for split in ("train", "validation"):
        pq.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    files = find(tmp_path, "squad2")
    assert files == Files((Hub(str(tmp_path), "train"),), Hub(str(tmp_path), "validation"))
    assert read(files.dev).questions == (FIRST, SECOND, NONE)
    with pytest.raises(UserError, match="no data set could be read"):
        read(Hub(str(tmp_path), "nonesuch"))
    assert find("squad_v2", "squad2") == Files((Hub("squad_v2", "train"),), Hub("squad_v2", "validation"))


@pytest.mark.parametrize(
    ("text", "start", "place"),
    [("Rome", 0, 0), ("Rome", 11, 11), ("Rome", 9, 11), ("Rome", 2, 0), ("Rome", 99, 11), ("Rome", -5, 0)]
    + [("中文", 0, 26), ("Romes", 0, None), ("", 3, None), ("rome", 0, None)],
)
def test_the_nearest_occurrence(text: str, start: int, place: int | None) -> None:
    every = [at for at in range(len(PASSAGE)) if text and PASSAGE[at : at + len(text)] == text]
    assert place == min(every, key=lambda at: abs(at - start), default=None), "the case itself"
    assert locate(PASSAGE, text, start) == place


def test_answers_elsewhere_and_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    qas = [qa(7, "?", ("rose", 3)), qa("8", "?", ("Paris", 0)), qa("9", "?", ("Paris", 0), ("Rome", 0))]
    path.write_text(json.dumps(squad([*qas, qa("10", "?", is_impossible=False)])))
    reading = read(path)
    assert [question.span for question in reading.questions] == [(16, 20), None, (0, 4), None]
    assert reading.questions[0].id == "7"
    assert (reading.moved, reading.lost) == (1, 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[1]", "an object was expected"),
        ('{"text": 1}', "there is no 'data'"),
        ('{"data": {}}', "'data' is not a list"),
        ('{"data": [{"title": "x"}]}', "article 1: there is no 'paragraphs'"),
        (squad([{"id": "1", "answers": []}]), "article 1, paragraph 1, question 1: there is no 'question'"),
        (squad([{"question": "x", "answers": []}]), "question 1: there is no id"),
        (squad([qa("1", "x", ("Rome", 0)), qa("1", "y", ("Rome", 0))]), "question 2: the id '1' occurred before"),
        (squad([qa("1", " \t", ("Rome", 0))]), "question 1: the question is empty"),
        (squad([qa("1", "x", ("Rome", 0))], "\n"), "question 1: the passage is empty"),
        (squad([qa("1", "x", is_impossible="no")]), "is_impossible is 'no'"),
        (squad([{"id": "1", "question": "x", "answers": [{"text": "Rome"}]}]), "there is no 'answer_start'"),
        (squad([{"id": "1", "question": "x", "answers": [{"text": 5, "answer_start": 0}]}]), "'text' is not text"),
    ],
)
def test_bad_squad(tmp_path: Path, content: str | dict, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as caught:
        read(path)
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "a.json")
    whole = gzip.compress(json.dumps(squad(QAS)).encode())
    (tmp_path / "a.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read to its end"):
        read(tmp_path / "a.json.gz")
    (tmp_path / "b.json").write_bytes(b'{"data": "\xff"}')
    with pytest.raises(UserError, match="invalid UTF-8 at byte 10"):
        read(tmp_path / "b.json")
    (tmp_path / "c.jsonl").write_text('{"header": 1}\n{"context": "x", "qas": [{}]}')
    with pytest.raises(UserError, match=r"c.jsonl: line 2, question 1: there is no 'detected_answers'"):
        read(tmp_path / "c.jsonl")
    (tmp_path / "d.jsonl").write_text('{"header": 1}\nsquad')
    with pytest.raises(UserError, match="line 2: damaged JSON"):
        read(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("task", "names", "train", "dev"),
    [
        ("squad", "train-v1.1.json dev-v1.1.json train-v2.0.json dev-v2.0.json", "train-v1.1.json", "dev-v1.1.json"),
        ("squad2", "train-v1.1.json dev-v1.1.json train-v2.0.json dev-v2.0.json", "train-v2.0.json", "dev-v2.0.json"),
        ("squad2", "train.json.gz dev.json notes.txt", "train.json.gz", "dev.json"),
        ("squad", "train.jsonl validation.jsonl predictions-dev.json", "train.jsonl", "validation.jsonl"),
        ("squad", "dev-v1.1.json dev-v1.1-fit.json dev-v1.1-score.json", "dev-v1.1-fit.json", "dev-v1.1-score.json"),
        ("squad", "train.json train-small.json dev.json", "train.json", "dev.json"),
    ],
)
def test_files_by_their_names(tmp_path: Path, task: Name, names: str, train: str, dev: str) -> None:
    for name in names.split():
        (tmp_path / name).touch()
    assert find(tmp_path, task) == Files((tmp_path / train,), tmp_path / dev)


def test_files_not_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pair of a training set and a dev set for squad2"):
        find(tmp_path, "squad2")
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="no pair"):
        find(tmp_path, "squad2")
    (tmp_path / "train-v1.1.jsonl").touch()
    (tmp_path / "dev_v1.1.json").touch()
    with pytest.raises(UserError, match="Name the file that is meant"):
        find(tmp_path, "squad")
    with pytest.raises(UserError, match="is one file"):
        find(tmp_path / "train-v1.1.json", "squad")
    with pytest.raises(UserError, match="no such folder"):
        find("/no/such/folder", "squad")
