"""The task from files to figures: a tiny encoder learns a dozen questions by heart, and its files score as it does."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from electrain.batch import Batch
from electrain.data.tokenizer import train_tokenizer, vocab_of
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.finetune.squad.head import SpanHead
from electrain.finetune.squad.scoring import score_file
from electrain.finetune.squad.sources import Files, Name
from electrain.finetune.squad.task import THRESHOLD, SquadTask
from electrain.finetune.task import Row
from tests.training import one_thread  # noqa: F401 - a fixture

PASSAGES = (
    "Anna Bell built the red mill in 1850. Her brother Carl ran it until the great fire of 1871.",
    "The river Lin rises near Dorn. It flows north, past Elm and Fenwick, into the Grey Sea.",
    "Copper was mined at Gol by 30 men. Iron came from Hume; it was sold in Ivory Bay for silver.",
)
ASKED = (
    [
        ("Who built the mill?", "Anna Bell"),
        ("When was it built?", "1850"),
        ("Who ran it?", "Carl"),
        ("Who sold it?", ""),
    ],
    [
        ("Where does Lin rise?", "near Dorn"),
        ("Where does it flow?", "north"),
        ("Into what?", "the Grey Sea"),
        ("Why?", ""),
    ],
    [
        ("What was mined?", "Copper"),
        ("By how many?", "30 men"),
        ("Sold for what?", "silver"),
        ("When was it sold?", ""),
    ],
)


def write(path: Path, silent: bool, joined: bool = False) -> Path:
    """The set: with the questions that have no answer or without, each passage by itself or all in one."""
    articles = []
    for p, asked in enumerate(ASKED):
        passage = " ".join(PASSAGES) if joined else PASSAGES[p]
        qas = [
            {
                "id": f"{p}-{q}",
                "question": text,
                "answers": [{"text": answer, "answer_start": passage.index(answer)}] if answer else [],
                "is_impossible": not answer,
            }
            for q, (text, answer) in enumerate(asked)
            if answer or silent
        ]
        articles.append({"title": str(p), "paragraphs": [{"context": passage, "qas": qas}]})
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))
    return path


def task_of(folder: Path, name: Name, length: int = 512, stride: int = 128) -> SquadTask:
    path = write(folder / "set.json", name == "squad2", joined=length < 512)
    tokenizer = train_tokenizer([*PASSAGES, *(text for asked in ASKED for text, _ in asked)], size=300, min_frequency=1)
    return SquadTask(Files((path,), path), tokenizer, vocab_of(tokenizer), name, length, stride)


def collate(rows: Sequence[Row], special: tuple[int, ...]) -> tuple[Batch, torch.Tensor]:
    length = max(len(row.ids) for row in rows)
    ids, segments, real = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(3))
    for number, row in enumerate(rows):
        size = len(row.ids)
        ids[number, :size] = torch.from_numpy(row.ids)
        segments[number, row.second : size], real[number, :size] = 1, 1
    words = real.bool() & ~torch.isin(ids, torch.tensor(special))
    batch = Batch(ids, segments, real.bool(), words, torch.zeros(len(rows), dtype=torch.int64))
    return batch, torch.from_numpy(np.stack([row.target for row in rows]))


def learnt(task: SquadTask, steps: int) -> tuple[list[float], list[tuple[np.ndarray, ...]]]:
    """The losses of plain AdamW on all rows at once, and the predictions afterwards."""
    config = Bert.Config(layers=2, hidden=32, ffn=64, heads=2, embedding=32, positions=128)
    encoder = config.build(task.vocab)
    head = task.head(encoder, 0.1)
    assert isinstance(head, SpanHead)
    batch, target = collate(task.rows("train"), task.vocab.special)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 6e-3, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = head(encoder(batch.ids, batch.real, batch.segments), batch, target, None).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    batch, _ = collate(task.rows("dev"), task.vocab.special)
    with torch.no_grad():
        parts = head.predict(encoder(batch.ids, batch.real, batch.segments), batch)
    return losses, list(zip(*(part.numpy() for part in parts), strict=True))


@pytest.mark.parametrize(("name", "length"), [("squad2", 512), ("squad", 70)])
def test_a_dozen_questions_by_heart(tmp_path: Path, name: Name, length: int) -> None:
    """The files that it writes are given the same figures by the scorer of files."""
    task = task_of(tmp_path, name, length, stride=10)
    assert (len(task.rows("dev")) > 12) == (length < 512), "several windows a question in short rows alone"
    assert (task.epochs, task.judged, task.metric) == (2.0, ("dev",), "f1" if name == "squad" else "best_f1")
    losses, predictions = learnt(task, 80)
    assert losses[-1] < 0.05 * losses[0]
    figures = task.score("dev", predictions)
    best = "best_exact" if name == "squad2" else "exact"
    assert figures[best] > 0.9 and all(0 <= figure <= 1 for figure in figures.values())

    paths = task.write("dev", predictions, tmp_path / "new" / "out")
    files = {path.stem: path for path in paths}
    odds = files.get("null_odds")
    again = score_file(task.files.train[0], files["predictions"], name, odds, THRESHOLD)
    assert {key: again[key] for key in figures} == pytest.approx(figures)
    nbest: dict[str, list[dict[str, Any]]] = json.loads(files["nbest"].read_text())
    for key, text in json.loads(files["predictions"].read_text()).items():
        assert nbest[key][0]["text"] == text and len(nbest[key]) <= 20
        assert sum(entry["probability"] for entry in nbest[key]) == pytest.approx(1)
    if name == "squad2":
        silent = score_file(task.files.train[0], files["submission"], "squad2")
        assert silent["exact"] == pytest.approx(figures["exact"])
    else:
        assert set(files) == {"predictions", "nbest"}


def test_what_cannot_be_learnt_is_left_out_and_said(tmp_path: Path) -> None:
    task = task_of(tmp_path, "squad2")
    path = tmp_path / "set.json"
    data = json.loads(path.read_text())
    asked = data["data"][0]["paragraphs"][0]["qas"]
    asked[0]["answers"][0]["text"] = "Nobody"
    asked[1]["answers"][0]["answer_start"] += 1
    asked[2]["question"] = "Who ran " + "it " * 70
    path.write_text(json.dumps(data))
    assert (len(task.rows("train")), len(task.rows("dev"))) == (11, 12)
    assert task.about() == [
        f"train: {path}: 12 questions, 3 of them without an answer, in 11 windows",
        f"train: {path}: 1 questions left out: their answer does not stand in the passage",
        f"train: {path}: 1 answers do not stand where the file says; the nearest occurrence was taken",
        f"train: {path}: 1 questions cut to their first tokens",
        f"dev: {path}: 12 questions, 3 of them without an answer, in 12 windows",
        f"dev: {path}: 1 questions whose answer does not stand in the passage",
        f"dev: {path}: 1 answers do not stand where the file says; the nearest occurrence was taken",
        f"dev: {path}: 1 questions cut to their first tokens",
    ]


def test_training_sets_follow_each_other(tmp_path: Path) -> None:
    task = task_of(tmp_path, "squad2")
    answered = write(tmp_path / "answered.json", silent=False)
    both = SquadTask(
        Files((answered, tmp_path / "set.json"), tmp_path / "set.json"), task.tokenizer, task.vocab, "squad2"
    )
    rows = both.rows("train")
    assert len(rows) == 9 + 12
    for row, other in zip(rows[9:], task.rows("train"), strict=True):
        np.testing.assert_array_equal(row.ids, other.ids)


def test_bad_input(tmp_path: Path) -> None:
    task = task_of(tmp_path, "squad2")
    one = SquadTask(task.files, task.tokenizer, task.vocab, "squad")
    with pytest.raises(UserError, match="3 questions have no answer, and squad has no way to say so"):
        one.rows("dev")
    (tmp_path / "empty.json").write_text('{"data": []}')
    empty = SquadTask(Files((tmp_path / "empty.json",), tmp_path / "empty.json"), task.tokenizer, task.vocab)
    with pytest.raises(UserError, match="nothing to learn from"):
        empty.rows("train")
    with pytest.raises(UserError, match="holds no questions"):
        empty.rows("dev")
    with pytest.raises(ValueError, match="no split 'test'"):
        task.rows("test")
    shapes = (4,), (4,), (4, 4), (4, 4), (1,)
    nothing = tuple(np.full(shape, np.nan, np.float32) for shape in shapes)
    with pytest.raises(UserError, match="is not a number"):
        task.score("dev", [nothing] * 12)
