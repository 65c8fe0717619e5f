"""The n best answers, from beams written by hand."""

import numpy as np
import pytest

from electrain.errors import UserError
from electrain.finetune.squad.answers import Search, decide
from electrain.finetune.squad.reading import Question
from electrain.finetune.squad.windows import Window
from electrain.finetune.task import Row

PASSAGE = "Ab cd, ab Éf"
SPANS = np.array([(0, 2), (3, 5), (5, 6), (7, 9), (9, 12)])  # the last token begins with its space
QUESTION = Question("q", "?", PASSAGE, ("cd",), (3, 5), False)


def window(question: int = 0, part: slice = slice(0, 5), central: str = "11111") -> Window:
    size = len(SPANS[part])
    row = Row(np.zeros(size + 5, np.int32), 4, np.zeros(3, np.int64))  # [CLS] q q [SEP] passage [SEP]
    return Window(question, row, SPANS[part], np.array([mark == "1" for mark in central])[part])


def beam(*starts: tuple[int, float, list[tuple[int, float]]], odds: float = 0.0) -> tuple[np.ndarray, ...]:
    """Starts (place, log p) with as many ends each."""
    return (
        np.array([p for _, p, _ in starts], np.float32),
        np.array([place for place, _, _ in starts], np.int32),
        np.array([[p for _, p in ends] for _, _, ends in starts], np.float32),
        np.array([[place for place, _ in ends] for _, _, ends in starts], np.int32),
        np.array([odds], np.float32),
    )


def test_only_answers_in_the_passage_are_ranked() -> None:
    """Not: [CLS], the question, an end before the start, the closing [SEP], a text a second time."""
    said = decide(
        [QUESTION],
        [window()],
        [
            beam(
                (0, -0.1, [(0, -0.1), (5, -0.2), (4, -0.3)]),
                (2, -0.2, [(4, -0.1), (5, -0.2), (6, -0.3)]),
                (5, -1.0, [(4, -0.1), (6, -0.5), (9, -0.2)]),
                (4, -2.0, [(4, -0.25), (5, -0.125), (8, -9.0)]),
                (7, -3.0, [(8, -0.5), (7, -0.75), (6, -0.1)]),
                odds=-1.5,
            )
        ],
    )[0]
    assert [(c.text, c.start_log_prob, c.end_log_prob) for c in said.candidates] == [
        ("cd,", -1.0, -0.5),
        ("Ab cd", -2.0, -0.125),
        ("Ab", -2.0, -0.25),
        ("ab Éf", -3.0, -0.5),
        ("ab", -3.0, -0.75),
        ("Ab cd, ab Éf", -2.0, -9.0),
    ]
    weights = np.exp([-1.5, -2.125, -2.25, -3.5, -3.75, -11.0])
    np.testing.assert_allclose([c.probability for c in said.candidates], weights / weights.sum())
    assert (said.text, said.null_odds) == ("cd,", -1.5)


def test_length_and_number_are_bounded() -> None:
    ends = [(8, -0.1), (7, -0.2), (6, -0.3), (5, -0.4), (4, -0.5)]
    said = decide([QUESTION], [window()], [beam((4, 0.0, ends))], Search(best=2, length=3))[0]
    assert [c.text for c in said.candidates] == ["Ab cd,", "Ab cd"]


def test_windows_of_a_question_are_ranked_together() -> None:
    """A start counts where it is central; the same text keeps its best score; null odds are the least."""
    questions = [QUESTION, QUESTION]
    windows = [window(0, slice(0, 3), "11011"), window(0, slice(2, 5), "00111"), window(1)]
    beams = [
        beam((6, -0.1, [(6, -0.1)]), (4, -2.0, [(4, -0.1)]), odds=3.0),  # "," is not central here
        beam((4, -1.0, [(4, -0.1)]), (6, -4.0, [(6, -0.1)]), odds=1.0),  # but here
        beam((4, -1.0, [(4, -0.1)]), odds=7.0),
    ]
    first, second = decide(questions, windows, beams)
    assert [c.text for c in first.candidates] == [",", "Ab", "Éf"]
    assert (first.null_odds, second.null_odds, second.text) == (1.0, 7.0, "Ab")


def test_no_answer_at_all() -> None:
    said = decide([QUESTION], [window()], [beam((0, -0.1, [(0, -0.1)]), odds=2.0)])[0]
    assert (said.candidates, said.text, said.null_odds) == ((), "", 2.0)


@pytest.mark.parametrize("which", [0, 2, 4])
def test_what_is_not_a_number_is_refused(which: int) -> None:
    spoilt = list(beam((4, -1.0, [(4, -0.1)])))
    spoilt[which] = np.full_like(spoilt[which], np.nan)
    with pytest.raises(UserError, match=r"row 1 \(question 'q'\) is not a number"):
        decide([QUESTION, QUESTION], [window(0), window(1)], [beam((4, -1.0, [(4, -0.1)])), tuple(spoilt)])
    with pytest.raises(ValueError, match="1 predictions for 2 windows"):
        decide([QUESTION, QUESTION], [window(0), window(1)], [beam((4, -1.0, [(4, -0.1)]))])
