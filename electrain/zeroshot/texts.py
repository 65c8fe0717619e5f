"""Texts as token ids, and the rows in which an encoder reads them."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from electrain.data.tokenizer import bare

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

AT_ONCE = 4096  # texts to the tokenizer at a time


class Texts(NamedTuple):
    """Encoded texts, one after another, without [CLS] and [SEP].

    ids    (n,) int32      token ids
    words  (n,) int32      number, within its text, of the word that a token belongs to
    ends   (m + 1,) int64  text i is the tokens ends[i] to ends[i + 1] - 1
    """

    ids: Int[np.ndarray, " n"]
    words: Int[np.ndarray, " n"]
    ends: Int[np.ndarray, " m_and_1"]


class Rows(NamedTuple):
    """What an encoder reads at a time, [CLS] and [SEP] left out: whole texts, or windows of long ones; shortest first.

    start, stop  (r,) int64  read are the tokens start to stop - 1 of `Texts.ids`
    first, last  (r,) int64  of them, first to last - 1 are judged here; every token is judged in one row
    """

    start: Int[np.ndarray, " r"]
    stop: Int[np.ndarray, " r"]
    first: Int[np.ndarray, " r"]
    last: Int[np.ndarray, " r"]


def encode(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str]) -> Texts:
    """Texts as a tokenizer cuts them, many at a time."""
    core = bare(tokenizer, plain=True)
    parts = (texts[at : at + AT_ONCE] for at in range(0, len(texts), AT_ONCE))
    return joined([made for part in parts for made in core.encode_batch(list(part), add_special_tokens=False)])


def joined(encodings: "Sequence[Encoding]") -> Texts:
    """What a bare tokenizer made of several texts without special tokens, one after another."""
    ends = np.cumsum([0, *(len(encoding) for encoding in encodings)], dtype=np.int64)
    ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), np.int32, ends[-1])
    numbers = chain.from_iterable(encoding.word_ids for encoding in encodings)
    words = np.fromiter((-1 if number is None else number for number in numbers), np.int32, ends[-1])
    return Texts(ids, words, ends)


def distinct(texts: Texts) -> tuple[Texts, Int[np.ndarray, " m"]]:
    """The texts without repetitions, in the order of their first occurrence, and for every text its place among them.

    Scored once, sentences that are the same to the model have the same score, whatever batch they would have been in.
    """
    places: dict[bytes, int] = {}
    kept: list[int] = []
    inverse = np.empty(len(texts.ends) - 1, np.int64)
    for number, (a, b) in enumerate(zip(texts.ends[:-1], texts.ends[1:], strict=True)):
        key = texts.ids[a:b].tobytes() + texts.words[a:b].tobytes()
        if key not in places:
            places[key] = len(kept)
            kept.append(number)
        inverse[number] = places[key]
    sizes = np.diff(texts.ends)[kept]
    ends = np.concatenate([[0], sizes.cumsum()]).astype(np.int64)
    take = np.repeat(texts.ends[kept] - ends[:-1], sizes) + np.arange(ends[-1])
    return Texts(texts.ids[take], texts.words[take], ends), inverse


def rows(texts: Texts, room: int) -> Rows:
    """Rows of at most `room` tokens. A text without tokens has none.

    A longer text is read in windows that overlap by half or more, and each token is judged in the window whose middle
    it is nearest to: there its shorter side has the most context (a quarter of a window at least, but at the ends of
    the text).
    """
    start, stop = texts.ends[:-1], texts.ends[1:]
    size = stop - start
    short = (size > 0) & (size <= room)
    parts = [np.stack([start[short], stop[short], start[short], stop[short]])]
    long = np.stack([start, stop], axis=1)[size > room]
    parts += [_windows(a, b, room) for a, b in long.tolist()]
    table = np.concatenate(parts, axis=1)
    # Stable: the two sentences of a pair stay together where they are as long.
    return Rows(*table[:, np.argsort(table[1] - table[0], kind="stable")])


def _windows(start: int, stop: int, room: int) -> Int[np.ndarray, "4 w"]:
    begin = np.append(np.arange(start, stop - room, max(1, room // 2)), stop - room)
    # Half-way between the middles of neighbours; of two as near, the earlier window.
    border = (begin[:-1] + begin[1:] + room + 1) // 2
    return np.stack([begin, begin + room, np.append(start, border), np.append(border, stop)])
