"""SQuAD 1.1 and 2.0 as a task."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from electrain import files as whole_files
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.finetune.squad.answers import Said, decide
from electrain.finetune.squad.head import Answerability, SpanHead
from electrain.finetune.squad.reading import Question, Reading, read
from electrain.finetune.squad.scoring import MARKS, figures, with_thresholds
from electrain.finetune.squad.sources import Files, Name, Source
from electrain.finetune.squad.windows import Lengths, Windows, cut
from electrain.finetune.task import Predictions, Row, Task
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

THRESHOLD = -2.75  # official code, configure_finetuning: null odds above it mean "no answer"


class Part(NamedTuple):
    """A set: as it was read, the questions of it that are used, and their windows."""

    source: Source
    reading: Reading
    used: tuple[Question, ...]
    windows: Windows


@final
class SquadTask(Task):
    """Questions answered by a stretch of a passage; "squad2": or by saying that it does not answer.

    Figures of "squad":  exact, f1.
    Figures of "squad2": exact, f1 (and HasAns_*, NoAns_* of the questions with and without an answer) by the official
    code's fixed threshold on null odds, -2.75; best_exact, best_f1, each by the threshold that is best for it on the
    very questions that are judged. The fixed one was made for large models and the whole training set: of a small
    model the best ones say more, and are upper bounds.
    """

    judged = ("dev",)
    epochs = 2.0

    def __init__(
        self,
        files: Files,
        tokenizer: "PreTrainedTokenizerFast",
        vocab: Vocab,
        name: Name = "squad",
        length: int = 512,
        stride: int = 128,
    ):
        self.files = files
        self.tokenizer = tokenizer
        self.vocab = vocab
        self.name: Name = name
        # The fixed threshold calls every question unanswerable where the encoder is weak.
        self.metric = "f1" if name == "squad" else "best_f1"
        self.lengths = Lengths(length, stride)

    @cached_property
    def train(self) -> tuple[Part, ...]:
        """The training sets, without the questions whose answer does not stand in the passage."""
        parts = tuple(self._part(source, training=True) for source in self.files.train)
        if not any(part.used for part in parts):
            names = ", ".join(map(str, self.files.train)) or "no files"
            raise UserError(f"{self.name}: nothing to learn from in {names}; name a training set with answers")
        return parts

    @cached_property
    def dev(self) -> Part:
        """The set that judges."""
        part = self._part(self.files.dev, training=False)
        if not part.used:
            raise UserError(f"{self.files.dev}: holds no questions; name a dev set")
        return part

    def rows(self, split: str) -> Sequence[Row]:
        if split == "train":
            # A blank question's windows would teach that it has no answer.
            made = [part.windows for part in self.train]
            return [window.row for part in made for window in part.windows if window.question not in part.blank]
        return [window.row for window in self._judged(split).windows.windows]

    def head(self, encoder: Encoder, dropout: float) -> SpanHead:
        """Nothing is dropped in it, whatever `dropout` says: the official head drops nothing."""
        return SpanHead(encoder, Answerability(encoder) if self.name == "squad2" else None)

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        part = self._judged(split)
        said = decide(part.used, part.windows.windows, predictions)
        texts = [entry.text for entry in said]
        marks = MARKS[self.name]([question.gold for question in part.used], texts)
        answerable = np.array([bool(question.gold) for question in part.used])
        if self.name == "squad":
            return figures(marks, answerable)
        odds = np.array([entry.null_odds for entry in said])
        given = np.array([text != "" for text in texts])
        return with_thresholds(marks, answerable, given, odds, THRESHOLD)[0]

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        """predictions.json: id -> best answer; nbest.json: id -> answers with probability and log-probabilities.

        2.0: null_odds.json: id -> null odds, with which the official script finds the best thresholds (its
        --na-prob-file; predictions.json then holds an answer to every question, as it wants); submission.json:
        predictions with "" where the null odds lie above the fixed threshold.
        """
        part = self._judged(split)
        said = dict(
            zip(
                (question.id for question in part.used),
                decide(part.used, part.windows.windows, predictions),
                strict=True,
            )
        )
        contents: dict[str, dict] = {
            "predictions": {key: entry.text for key, entry in said.items()},
            "nbest": {key: [candidate._asdict() for candidate in entry.candidates] for key, entry in said.items()},
        }
        if self.name == "squad2":
            contents["null_odds"] = {key: entry.null_odds for key, entry in said.items()}
            contents["submission"] = {key: _spoken(entry) for key, entry in said.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            whole_files.write(folder / f"{name}.json", json.dumps(content, indent=1).encode())
        return [folder / f"{name}.json" for name in contents]

    def about(self) -> list[str]:
        return [line for part in self.train for line in _about("train", part)] + _about("dev", self.dev)

    def _judged(self, split: str) -> Part:
        if split != "dev":
            raise ValueError(f"no split {split!r}; there are train and dev")
        return self.dev

    def _part(self, source: Source, training: bool) -> Part:
        reading = read(source)
        silent = sum(question.impossible for question in reading.questions)
        if silent and self.name == "squad":
            raise UserError(
                f"{source}: {silent} questions have no answer, and squad has no way to say so; choose the task squad2"
            )
        used = reading.questions
        if training:
            used = tuple(question for question in used if question.impossible or question.span is not None)
        return Part(source, reading, used, cut(used, self.tokenizer, self.vocab, self.lengths))


def _spoken(entry: Said) -> str:
    return "" if entry.null_odds > THRESHOLD else entry.text


def _about(split: str, part: Part) -> list[str]:
    questions, made = part.reading.questions, part.windows
    silent = sum(question.impossible for question in questions)
    lines = [
        f"{split}: {part.source}: {len(questions):,} questions, {silent:,} of them without an answer, in "
        f"{len(made.windows):,} windows"
    ]
    notes = (
        (len(questions) - len(part.used), "questions left out: their answer does not stand in the passage"),
        (part.reading.lost if split != "train" else 0, "questions whose answer does not stand in the passage"),
        (part.reading.moved, "answers do not stand where the file says; the nearest occurrence was taken"),
        (len(made.blank), "questions whose answer has no token in the passage; not learnt from"),
        (made.cut, "questions cut to their first tokens"),
        (made.split, "questions with a passage of several windows"),
    )
    return lines + [f"{split}: {part.source}: {count:,} {what}" for count, what in notes if count]
