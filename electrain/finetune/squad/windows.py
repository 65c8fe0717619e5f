"""Passages in windows that overlap, each a row with its question, and the way back to the passage's characters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from electrain.data.tokenizer import bare
from electrain.errors import UserError
from electrain.finetune.squad.reading import Question
from electrain.finetune.task import Row
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

CHUNK = 2048  # questions that are tokenized at a time; passages that they share are tokenized once


@dataclass(frozen=True)
class Lengths:
    """Tokens, as in ELECTRA's fine-tuning (official code, configure_finetuning).

    row       at most, with [CLS] question [SEP] passage [SEP]
    stride    from the start of a window to the start of the next
    question  at most; the rest is cut off
    """

    row: int = 512
    stride: int = 128
    question: int = 64

    def __post_init__(self) -> None:
        if min(self.stride, self.question) < 1:
            raise UserError(f"squad: stride {self.stride} and question {self.question} must be 1 or more")
        if self.row < self.question + 4:
            raise UserError(
                f"squad: length {self.row} leaves no place for the passage beside a question of {self.question} "
                f"tokens; choose {self.question + 4} or more"
            )


class Tokens(NamedTuple):
    """A text's tokens and the characters [first, last) that each was made of."""

    ids: Int[np.ndarray, " n"]
    spans: Int[np.ndarray, "n 2"]


class Window(NamedTuple):
    """A window as a row: target (start, end, impossible), places in the row; 0, 0, 1 where it holds no answer.

    question  its number in the set
    spans     (n, 2) characters of the passage's tokens, which stand from place `row.second` on
    central   (n,) bool: no other window of the question shows the token with more context
    """

    question: int
    row: Row
    spans: Int[np.ndarray, "n 2"]
    central: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Windows:
    """A set's windows in the order of its questions.

    cut    questions that were longer than allowed
    split  questions whose passage takes several windows
    blank  questions whose answer stands in the passage, but has no token (the tokenizer drops its characters)
    """

    windows: tuple[Window, ...]
    cut: int = 0
    split: int = 0
    blank: frozenset[int] = frozenset()


def cut(
    questions: Sequence[Question], tokenizer: "PreTrainedTokenizerFast", vocab: Vocab, lengths: Lengths | None = None
) -> Windows:
    """The windows of all questions."""
    lengths = lengths or Lengths()
    core = bare(tokenizer, plain=True)
    made: list[Window] = []
    blank: set[int] = set()
    long = split = 0
    for number, (question, asked, passage) in enumerate(_tokens(questions, core)):
        long += len(asked) > lengths.question
        ids = asked[: lengths.question]
        room = lengths.row - len(ids) - 3
        starts = window_starts(len(passage.ids), room, lengths.stride)
        split += len(starts) > 1
        answer = _answer(question, passage.spans)
        if question.span is not None and answer is None:
            blank.add(number)
        lead = np.concatenate([[vocab.cls], ids, [vocab.sep]]).astype(np.int32)
        central = _central(len(passage.ids), starts, room)
        for start, mask in zip(starts, central, strict=True):
            part = slice(start, start + len(mask))
            row = np.concatenate([lead, passage.ids[part], np.array([vocab.sep], np.int32)])
            target = _target(answer, start, len(mask), len(lead))
            made.append(Window(number, Row(row, len(lead), target), passage.spans[part], mask))
    return Windows(tuple(made), long, split, frozenset(blank))


def window_starts(tokens: int, room: int, stride: int) -> list[int]:
    """Where the windows of a passage start: every `stride` tokens until one reaches the end; one at least.

    A window shorter than the stride is followed by the next at its end: no token is left out.
    """
    starts = [0]
    while starts[-1] + room < tokens:
        starts.append(starts[-1] + min(stride, room))
    return starts


def _central(tokens: int, starts: Sequence[int], room: int) -> list[Bool[np.ndarray, " n"]]:
    """For each window its tokens that have most context in it: the least of left and right counts, a hundredth of the
    window's length is added, and the first window wins a tie (official BERT and ELECTRA code).
    """
    sizes = [min(room, tokens - start) for start in starts]
    if len(starts) == 1:
        return [np.ones(sizes[0], bool)]
    place = np.arange(tokens)
    context = np.full((len(starts), tokens), -1.0)
    for window, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        inside = place[start : start + size] - start
        context[window, start : start + size] = np.minimum(inside, size - 1 - inside) + 0.01 * size
    first = context.argmax(0)
    return [first[start : start + size] == n for n, (start, size) in enumerate(zip(starts, sizes, strict=True))]


def _answer(question: Question, spans: Int[np.ndarray, "n 2"]) -> tuple[int, int] | None:
    """The first and the last token that touch the answer's characters."""
    if question.span is None:
        return None
    touching = np.flatnonzero((spans[:, 0] < question.span[1]) & (spans[:, 1] > question.span[0]))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


def _target(answer: tuple[int, int] | None, start: int, size: int, lead: int) -> Int[np.ndarray, " 3"]:
    if answer is None or answer[0] < start or answer[1] >= start + size:
        return np.array([0, 0, 1], np.int64)
    return np.array([answer[0] - start + lead, answer[1] - start + lead, 0], np.int64)


def _tokens(
    questions: Sequence[Question], core: "Tokenizer"
) -> Iterator[tuple[Question, Int[np.ndarray, " q"], Tokens]]:
    """Every question with its tokens' ids and its passage's tokens."""
    source = iter(questions)
    while chunk := list(islice(source, CHUNK)):
        passages = list(dict.fromkeys(question.passage for question in chunk))
        encoded = core.encode_batch([_plain(text) for text in passages], add_special_tokens=False)
        tokens = {
            text: Tokens(np.array(one.ids, np.int32), np.array(one.offsets, np.int32).reshape(-1, 2))
            for text, one in zip(passages, encoded, strict=True)
        }
        # Without offsets, which cost most of the time.
        asked = core.encode_batch_fast([_plain(question.text) for question in chunk], add_special_tokens=False)
        for question, one in zip(chunk, asked, strict=True):
            yield question, np.array(one.ids, np.int32), tokens[question.passage]


def _plain(text: str) -> str:
    """JSON can hold half a surrogate pair, which no tokenizer takes: one character stands in for it."""
    return text.encode("utf-8", "replace").decode()
