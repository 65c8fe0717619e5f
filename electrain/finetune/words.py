"""Sentences of words to rows of tokens: the first token of a word carries its tag, long sentences are cut at words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from electrain.finetune.heads import IGNORE
from electrain.finetune.task import Row
from electrain.finetune.texts import CHUNK
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Piece(NamedTuple):
    """A row: of which sentence, from which word on, and the place of every word's first token."""

    sentence: int
    word: int
    places: Int[np.ndarray, " w"]


class Pieces(NamedTuple):
    """Rows and what they are pieces of; `cut` sentences are in several rows, `long` words lost tokens."""

    rows: list[Row]
    pieces: list[Piece]
    cut: int
    long: int


def tokens_of(core: "Tokenizer", vocab: Vocab, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
    """The token ids of every word of every sentence; [UNK] for a word of which the tokenizer leaves nothing.

    The words are read with a space between them, as they would be in a text (a tokenizer of bytes tells a word after a
    space from one without), and what looks like a special token is read as text.
    """
    core.encode_special_tokens = True
    out = []
    for start in range(0, len(sentences), CHUNK):
        part = sentences[start : start + CHUNK]
        chunk = core.encode_batch([" ".join(words) for words in part], add_special_tokens=False)
        for words, encoding in zip(part, chunk, strict=True):
            owner = np.repeat(np.arange(len(words)), [len(word) + 1 for word in words])
            ids: list[list[int]] = [[] for _ in words]
            for token, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True):
                if end > begin:  # by its last character: a token of bytes may begin with the space before its word
                    ids[owner[end - 1]].append(token)
            out.append([found or [vocab.unk] for found in ids])
    return out


def cut(
    sentences: Sequence[Sequence[Sequence[int]]], tags: Sequence[Sequence[int]], vocab: Vocab, length: int
) -> Pieces:
    """Rows of at most `length` tokens, [CLS] and [SEP] among them; as many words as fit, then the next row.

    sentences: token ids of every word
    tags:      class of every word, IGNORE where there is none
    A word that fills more than a row loses its last tokens.
    """
    room = length - 2
    rows, pieces, parted, long = [], [], 0, 0
    for number, (whole, classes) in enumerate(zip(sentences, tags, strict=True)):
        long += sum(len(word) > room for word in whole)
        words = [word[:room] for word in whole]
        begin, before = 0, len(rows)
        while begin < len(words):
            end, size = begin, 0
            while end < len(words) and size + len(words[end]) <= room:
                size += len(words[end])
                end += 1
            ids = [vocab.cls, *(token for word in words[begin:end] for token in word), vocab.sep]
            places = 1 + np.cumsum([0, *(len(word) for word in words[begin : end - 1])])
            target = np.full(len(ids), IGNORE, np.int64)
            target[places] = classes[begin:end]
            rows.append(Row(np.array(ids, np.int32), len(ids), target))
            pieces.append(Piece(number, begin, places))
            begin = end
        parted += len(rows) - before > 1
    return Pieces(rows, pieces, parted, long)
