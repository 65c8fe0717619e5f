"""From what the head says of windows to the n best answers of each question, as stretches of its passage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from electrain.errors import UserError
from electrain.finetune.squad.reading import Question
from electrain.finetune.squad.windows import Window
from electrain.finetune.task import Predictions


@dataclass(frozen=True)
class Search:
    """ELECTRA's settings (official code, configure_finetuning).

    best    answers kept a question
    length  tokens of an answer, at most
    """

    best: int = 20
    length: int = 30


class Candidate(NamedTuple):
    """A stretch of the passage, its share of the softmax over the candidates kept, and its two log-probabilities."""

    text: str
    probability: float
    start_log_prob: float
    end_log_prob: float


class Said(NamedTuple):
    """What is said of a question: candidates, best first, all of other text; null odds.

    The null odds are the logit of "no answer" of the window that is surest of an answer. As in the official ELECTRA
    code, the candidates' probability has no part in them; its fixed threshold is made for that.
    """

    candidates: tuple[Candidate, ...]
    null_odds: float

    @property
    def text(self) -> str:
        """The best answer other than none; "" if no window allows one."""
        return self.candidates[0].text if self.candidates else ""


class Spans(NamedTuple):
    """Possible answers of a window: log-probabilities, and first and last token in the window's part of the passage."""

    start_log_prob: Float[np.ndarray, " c"]
    end_log_prob: Float[np.ndarray, " c"]
    first: Int[np.ndarray, " c"]
    last: Int[np.ndarray, " c"]


def decide(
    questions: Sequence[Question], windows: Sequence[Window], predictions: Predictions, search: Search | None = None
) -> list[Said]:
    """What is said of every question; `predictions` are the head's, one `Beam` of arrays a window.

    UserError if one of them is not a number.
    """
    if len(windows) != len(predictions):
        raise ValueError(f"{len(predictions)} predictions for {len(windows)} windows")
    search = search or Search()
    pairs = enumerate(zip(windows, predictions, strict=True))
    said: list[Said] = []
    for number, group in groupby(pairs, key=lambda pair: pair[1][0].question):
        of_question = []
        for row, (window, beam) in group:
            start_log_prob, _, end_log_prob, _, no_answer = beam
            if not all(np.isfinite(part).all() for part in (start_log_prob, end_log_prob, no_answer)):
                raise UserError(
                    f"squad: the prediction of row {row} (question {questions[number].id!r}) is not a number: training "
                    "went astray; lower the learning rate"
                )
            of_question.append((window, beam))
        said.append(_said(questions[number], of_question, search))
    return said


def spans(window: Window, beam: tuple[np.ndarray, ...], longest: int) -> Spans:
    """The answers that a window's beam allows: in the passage, of `longest` tokens at most, and starting where no other
    window shows more context.
    """
    start_log_prob, start, end_log_prob, end, _ = beam
    size = len(window.spans)
    first = np.broadcast_to((start - window.row.second)[:, None], end.shape)
    last = end - window.row.second
    fits = (first >= 0) & (last >= first) & (last < size) & (last - first < longest)
    fits[fits] = window.central[first[fits]]
    scores = np.broadcast_to(start_log_prob[:, None], end.shape)[fits], end_log_prob[fits]
    return Spans(scores[0].astype(float), scores[1].astype(float), first[fits], last[fits])


def _said(question: Question, of_question: list[tuple[Window, tuple[np.ndarray, ...]]], search: Search) -> Said:
    found = [spans(window, beam, search.length) for window, beam in of_question]
    score = np.concatenate([part.start_log_prob + part.end_log_prob for part in found])
    source = np.repeat(np.arange(len(found)), [len(part.first) for part in found])
    begin = np.concatenate([[0], np.cumsum([len(part.first) for part in found])])
    kept: dict[str, tuple[float, float]] = {}
    for place in np.argsort(-score, kind="stable"):
        if len(kept) == search.best:
            break
        part, at = found[source[place]], place - begin[source[place]]
        text = _text(question.passage, of_question[source[place]][0], int(part.first[at]), int(part.last[at]))
        if text and text not in kept:
            kept[text] = float(part.start_log_prob[at]), float(part.end_log_prob[at])
    odds = min(float(beam[-1].item()) for _, beam in of_question)
    return Said(tuple(_candidates(kept)), odds)


def _text(passage: str, window: Window, first: int, last: int) -> str:
    # The tokens of some tokenizers begin with the space before the word.
    return passage[window.spans[first, 0] : window.spans[last, 1]].strip()


def _candidates(kept: dict[str, tuple[float, float]]) -> Iterator[Candidate]:
    scores = np.array([sum(pair) for pair in kept.values()])
    weights = np.exp(scores - scores.max(initial=-np.inf))
    for (text, (start, end)), weight in zip(kept.items(), weights / weights.sum(), strict=True):
        yield Candidate(text, float(weight), start, end)
