"""Exact match and F1 of answers by the rules of SQuAD's official scripts, with and without a no-answer threshold."""

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from electrain.errors import UserError
from electrain.finetune.squad.loading import load
from electrain.finetune.squad.reading import Question, read
from electrain.finetune.squad.sources import Name, Source

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII's only: “ ” and – stay
Golds = Sequence[Sequence[str]]


class Marks(NamedTuple):
    """Shares from 0 to 1, one a question."""

    exact: Float[np.ndarray, " n"]
    f1: Float[np.ndarray, " n"]


class Best(NamedTuple):
    """The best mean that a no-answer threshold can reach, and that threshold."""

    score: float
    threshold: float


@lru_cache(1 << 16)  # every gold answer is compared four times, and most are given several times
def normalise(text: str) -> str:
    """Lower-cased, without ASCII punctuation, without articles, words one space apart."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact(gold: str, said: str) -> float:
    """1 if both are the same once normalised, otherwise 0."""
    return float(normalise(gold) == normalise(said))


def f1(gold: str, said: str) -> float:
    """Harmonic mean of precision and recall over the multisets of words; 0 without a word in common."""
    theirs, ours = normalise(gold).split(), normalise(said).split()
    common = (Counter(theirs) & Counter(ours)).total()
    return 2 * common / (len(theirs) + len(ours)) if common else 0.0


def marks_v1(golds: Golds, said: Sequence[str]) -> Marks:
    """Best marks over each question's gold answers (Rajpurkar et al., 2016, evaluate-v1.1)."""
    return _marks([_best(gold, answer, f1) for gold, answer in zip(golds, said, strict=True)])


def marks_v2(golds: Golds, said: Sequence[str]) -> Marks:
    """The same for 2.0 (Rajpurkar et al., 2018, evaluate-v2.0): where gold or answer is empty, 1 only if both are.

    Gold answers of articles and punctuation alone do not count; a question without another one is answered by "".
    """
    kept = [[text for text in gold if normalise(text)] or [""] for gold in golds]
    return _marks([_best(gold, answer, _f1_or_empty) for gold, answer in zip(kept, said, strict=True)])


MARKS = {"squad": marks_v1, "squad2": marks_v2}


def silenced(
    marks: Marks, answerable: Bool[np.ndarray, " n"], odds: Float[np.ndarray, " n"], threshold: float
) -> Marks:
    """Marks once every answer whose null odds lie above the threshold is replaced by none."""
    silent = odds > threshold
    return Marks(*(np.where(silent, (~answerable).astype(float), mark) for mark in marks))


def best(
    mark: Float[np.ndarray, " n"],
    answerable: Bool[np.ndarray, " n"],
    given: Bool[np.ndarray, " n"],
    odds: Float[np.ndarray, " n"],
) -> Best:
    """The threshold on null odds that gives the best mean, as evaluate-v2.0 looks for it: it adds the questions one by
    one, from the least null odds up, to an answer "" for all, and takes the first best sum.

    mark   of every answer
    given  whether the answer is other than ""

    Equal odds are added in their order, though no threshold lies between them. Where "" for all is best, the threshold
    is -inf (the script's 0 stands for that only where odds are probabilities). The threshold is chosen on the very
    questions that it is judged by: an upper bound, not what would be seen on others.
    """
    order = np.argsort(odds, kind="stable")
    change = np.where(answerable, mark, np.where(given, -1.0, 0.0))[order]
    sums = np.concatenate([[0.0], change.cumsum()]) + (~answerable).sum()
    place = int(sums.argmax())
    return Best(float(sums[place] / len(mark)), float(odds[order[place - 1]]) if place else float("-inf"))


def figures(marks: Marks, answerable: Bool[np.ndarray, " n"]) -> dict[str, float]:
    """Means over all questions, over those with an answer (HasAns) and those without (NoAns), where there are any."""
    made = {"exact": float(marks.exact.mean()), "f1": float(marks.f1.mean())}
    for name, chosen in (("HasAns", answerable), ("NoAns", ~answerable)):
        if chosen.any() and not chosen.all():
            made[f"{name}_exact"] = float(marks.exact[chosen].mean())
            made[f"{name}_f1"] = float(marks.f1[chosen].mean())
    return made


def with_thresholds(
    marks: Marks,
    answerable: Bool[np.ndarray, " n"],
    given: Bool[np.ndarray, " n"],
    odds: Float[np.ndarray, " n"],
    fixed: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of 2.0, and the thresholds that two of them are taken at.

    exact, f1, HasAns_*, NoAns_*  at the fixed threshold
    best_exact, best_f1           each at its own best threshold: best_exact_thresh, best_f1_thresh (second dictionary)
    """
    made = figures(silenced(marks, answerable, odds, fixed), answerable)
    exactly, loosely = (best(mark, answerable, given, odds) for mark in marks)
    made |= {"best_exact": exactly.score, "best_f1": loosely.score}
    return made, {"best_exact_thresh": exactly.threshold, "best_f1_thresh": loosely.threshold}


def score_file(
    data: Source, predictions: Path, rules: Name, null_odds: Path | None = None, threshold: float = 1.0
) -> dict[str, float]:
    """Figures (shares) of a file of predictions, id -> answer, as the official scripts judge it.

    rules      1.1's or 2.0's
    null_odds  id -> null odds: with them answers above `threshold` count as "", and the best thresholds are looked for
               (best_exact_thresh, best_f1_thresh: no shares)

    UserError if a question has no prediction (the scripts would give it 0, or leave it out of the mean).
    """
    questions = read(data).questions
    if not questions:
        raise UserError(f"{data}: holds no questions; name the set that the answers are for")
    golds = [question.gold for question in questions]
    said = [str(text) for text in _by_id(predictions, questions)]
    marks = MARKS[rules](golds, said)
    answerable = np.array([bool(gold) for gold in golds])
    if null_odds is None:
        return figures(marks, answerable)
    try:
        odds = np.array(_by_id(null_odds, questions), float)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{null_odds}: holds other things than numbers ({error}); write id -> null odds") from error
    made, thresholds = with_thresholds(marks, answerable, np.array([text != "" for text in said]), odds, threshold)
    return made | thresholds


def _by_id(path: Path, questions: Sequence[Question]) -> list:
    given = load(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: not an object of question ids; write {json.dumps({'id': 'answer'})}")
    if missing := [question.id for question in questions if question.id not in given]:
        raise UserError(
            f"{path}: nothing for {len(missing)} of {len(questions)} questions, such as {missing[0]!r}; is it for "
            "another set?"
        )
    return [given[question.id] for question in questions]


def _f1_or_empty(gold: str, said: str) -> float:
    if normalise(gold) and normalise(said):
        return f1(gold, said)
    return exact(gold, said)


def _best(gold: Sequence[str], said: str, measure: Callable[[str, str], float]) -> tuple[float, float]:
    exactly = max((exact(text, said) for text in gold), default=0.0)
    return exactly, max((measure(text, said) for text in gold), default=0.0)


def _marks(pairs: list[tuple[float, float]]) -> Marks:
    array = np.array(pairs, float).reshape(-1, 2)
    return Marks(array[:, 0], array[:, 1])
