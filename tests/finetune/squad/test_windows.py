"""Windows hold what they should, where they should; targets and spans lead back to the passage's own characters."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electrain.data.tokenizer import train_tokenizer, vocab_of
from electrain.errors import UserError
from electrain.finetune.squad.reading import Question
from electrain.finetune.squad.windows import Lengths, _central, cut, window_starts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WORDS = [f"{a}{b}{c}" for a in "bdk" for b in "aeiou" for c in "nrst"]


@cache
def tokenizer(kind: str = "wordpiece-uncased") -> "PreTrainedTokenizerFast":
    texts = [" ".join(WORDS[n:] + WORDS[:n]) + " (1895–1943), [SEP]? É." for n in range(len(WORDS))]
    return train_tokenizer(texts, kind, 400)  # pyright: ignore[reportArgumentType]


def question(passage: str, answer: str | None, text: str = "bar den?", at: int = 0) -> Question:
    span = None if answer is None else (passage.index(answer, at), passage.index(answer, at) + len(answer))
    return Question("1", text, passage, () if answer is None else (answer,), span, answer is None)


def test_a_short_passage_is_one_window() -> None:
    tok = tokenizer()
    vocab = vocab_of(tok)
    asked = question("Bar Den (1895–1943).", "1895")
    made = cut([asked], tok, vocab)
    assert (len(made.windows), made.cut, made.split, made.blank) == (1, 0, 0, frozenset())
    row = made.windows[0].row
    assert row.ids.tolist() == tok("bar den?", asked.passage)["input_ids"], "as transformers encodes the pair"
    assert row.second == tok("bar den?", asked.passage)["token_type_ids"].index(1)
    assert row.ids.dtype == np.int32 and row.target.dtype == np.int64
    start, end, impossible = row.target
    assert impossible == 0
    spans = made.windows[0].spans
    assert asked.passage[spans[start - row.second, 0] : spans[end - row.second, 1]] == "1895"


@pytest.mark.parametrize("kind", ["wordpiece-uncased", "wordpiece-cased", "bytes"])
@pytest.mark.parametrize("answer", ["É", "中文", "ban", "den dir", "Kat", "kut.", "\U0001f600"])
def test_targets_lead_back_to_the_answer(kind: str, answer: str) -> None:
    tok = tokenizer(kind)
    passage = f"Ban É bér 中文 den dir [SEP] Kat \U0001f600 e\u0301 {' '.join(WORDS)} kut."
    asked = question(passage, "ban", at=1) if answer == "ban" else question(passage, answer)
    made = cut([asked], tok, vocab_of(tok), Lengths(40, 7, 5))
    found = 0
    for window in made.windows:
        start, end, impossible = window.row.target
        assert len(window.row.ids) <= 40 and len(window.row.ids) == window.row.second + len(window.spans) + 1
        if not impossible:
            first, last = start - window.row.second, end - window.row.second
            text = passage[window.spans[first, 0] : window.spans[last, 1]]
            assert text.strip() == answer
            found += 1
        else:
            assert (start, end) == (0, 0)
    assert found


def test_windows_overlap_and_cover() -> None:
    """Against the passage tokenized by itself and cut by hand."""
    tok = tokenizer()
    vocab = vocab_of(tok)
    passage = " ".join(WORDS * 3)
    whole = tok(passage, add_special_tokens=False)["input_ids"]
    asked = tok("bar den?", add_special_tokens=False)["input_ids"]
    made = cut([question(passage, None)], tok, vocab, Lengths(60, 16, 10))
    room, expected, start = 60 - 3 - len(asked), [], 0
    while True:
        expected.append([vocab.cls, *asked, vocab.sep, *whole[start : start + room], vocab.sep])
        if start + room >= len(whole):
            break
        start += 16
    assert [window.row.ids.tolist() for window in made.windows] == expected
    assert made.split == 1 and all(window.row.target.tolist() == [0, 0, 1] for window in made.windows)


def test_long_questions_are_cut_and_counted() -> None:
    tok = tokenizer()
    asked = question("Bar Den.", "Den", " ".join(WORDS))
    made = cut([asked, question("Bar Den.", "Den")], tok, vocab_of(tok), Lengths(30, 4, 6))
    assert made.cut == 1
    assert made.windows[0].row.second == 8 and [window.question for window in made.windows] == [0, 1]


def test_texts_that_tokenizers_stumble_over() -> None:
    """Half a surrogate pair; characters without a token; the text of a special token; white space alone."""
    tok = tokenizer()
    vocab = vocab_of(tok)
    passage = "Bar \ud800 [SEP] [PAD] den \u200b kat"
    made = cut([question(passage, "den"), question(passage, "\u200b"), question("\u200b", None)], tok, vocab)
    row, spans = made.windows[0].row, made.windows[0].spans
    assert not np.isin(row.ids[row.second : -1], vocab.special).any()
    assert passage[slice(*spans[row.target[0] - row.second])] == "den"
    assert made.blank == {1} and made.windows[1].row.target.tolist() == [0, 0, 1]
    assert made.windows[2].spans.shape == (0, 2) and made.windows[2].row.ids[-1] == vocab.sep


@given(st.integers(0, 300), st.integers(1, 90), st.integers(1, 90))
def test_starts_and_context(tokens: int, room: int, stride: int) -> None:
    """No token is left out, starts differ by the stride, and each token is central in the window of most context."""
    starts = window_starts(tokens, room, stride)
    assert starts[0] == 0 and starts[-1] + room >= tokens
    assert all(start + room < tokens for start in starts[:-1]), "no window after the passage's end was reached"
    assert set(np.diff(starts)) <= {min(stride, room)}
    central = _central(tokens, starts, room)
    owner = {}
    for token in range(tokens):
        scores = []
        for number, start in enumerate(starts):
            size = min(room, tokens - start)
            if start <= token < start + size:
                scores.append((-(min(token - start, start + size - 1 - token) + 0.01 * size), number))
        owner[token] = min(scores)[1]
    for number, start in enumerate(starts):
        expected = [owner[token] == number for token in range(start, min(start + room, tokens))]
        assert central[number].tolist() == expected


def test_bad_lengths() -> None:
    with pytest.raises(UserError, match="choose 68 or more"):
        Lengths(67)
    with pytest.raises(UserError, match="stride 0"):
        Lengths(stride=0)
