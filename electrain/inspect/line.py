"""A text as tokens that know what a person reads in their place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from electrain.data.tokenizer import bare

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


class Token(NamedTuple):
    """A token where it stands.

    id     its number
    name   as it stands in the vocabulary
    gap    what stands before it and belongs to no token: blanks, what the tokenizer drops
    shown  what a person reads; "" where the characters belong to the token before too (a part of an emoji)
    word   number of the tokenizer's word that it belongs to
    """

    id: int
    name: str
    gap: str
    shown: str
    word: int


class Line(NamedTuple):
    """Tokens in order, and what stands after the last one."""

    tokens: tuple[Token, ...]
    rest: str = ""

    @property
    def ids(self) -> Int[np.ndarray, " n"]:
        """The numbers of the tokens, int32."""
        return np.array([token.id for token in self.tokens], np.int32)

    @property
    def text(self) -> str:
        """What a person reads."""
        return "".join(token.gap + token.shown for token in self.tokens) + self.rest


class Reader:
    """Reads texts by a tokenizer as pre-training did: "[SEP]" in a text is text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast"):
        self.core: Tokenizer = bare(tokenizer, plain=True)
        # Decoded behind another token, a token says whether it begins a word; alone it would lose its blank.
        self._before = self.core.encode("a", add_special_tokens=False).ids[:1]
        self._start = self.core.decode(self._before, skip_special_tokens=False)

    def read(self, text: str) -> Line:
        """The text as the tokenizer has it."""
        encoding = self.core.encode(text, add_special_tokens=False)
        tokens, done = [], 0
        for number, name, (start, end), word in zip(
            encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids, strict=True
        ):
            begin = max(start, done)
            while begin < end - 1 and text[begin].isspace():  # tokenizers of bytes count the blank before a word to it
                begin += 1
            gap, shown = text[done:begin], text[begin : max(begin, end)]
            tokens.append(Token(number, name, gap, shown, -1 if word is None else word))
            done = max(begin, end)
        return Line(tuple(tokens), text[done:])

    def cut(self, line: Line, count: int) -> Line:
        """The first tokens of a line."""
        return line if len(line.tokens) <= count else Line(line.tokens[:count])

    def changed(self, line: Line, ids: Sequence[int]) -> Line:
        """The line with other tokens in the same places; what stays keeps its characters."""
        tokens = []
        for token, number in zip(line.tokens, ids, strict=True):
            if number == token.id:
                tokens.append(token)
                continue
            blank, shown = self.surface(number)
            gap = token.gap or (" " if blank and tokens else "") if blank else ""
            tokens.append(Token(number, self.core.id_to_token(number) or f"[{number}]", gap, shown, token.word))
        return Line(tuple(tokens), line.rest)

    def surface(self, number: int) -> tuple[bool, str]:
        """Whether a token begins a word, and what a person reads in its place."""
        both = self.core.decode([*self._before, number], skip_special_tokens=False)
        name = self.core.id_to_token(number) or f"[{number}]"  # a table may have more rows than there are tokens
        if not self._before or not both.startswith(self._start):
            return True, name
        said = both[len(self._start) :]
        return said[:1].isspace(), said.strip() or name
