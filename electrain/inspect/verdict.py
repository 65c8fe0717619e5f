"""What a model makes of every token of a line, by the best that it has."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from electrain.encoders.base import Encoder
from electrain.hub.opened import Opened
from electrain.inspect.line import Line
from electrain.zeroshot.forward import Place, guesses, verdicts
from electrain.zeroshot.texts import Texts, rows

LONGEST = 4096  # tokens of a text that are looked at
BUDGET = 1e12  # multiplications that masked-LM surprise may take: some seconds on a CPU
Kind = Literal["replaced", "surprise", "energy"]


class Verdict(NamedTuple):
    """A number for every token, float64.

    kind     replaced: the discriminator's probability that something else stood there; surprise: -log2 of the masked
             language model's probability of the token given the others, in bits; energy: Electric's
    values   (n,)
    windows  pieces in which a text was read that is longer than the model
    """

    kind: Kind
    values: Float[np.ndarray, " n"]
    windows: int

    @property
    def shades(self) -> Float[np.ndarray, " n"]:
        """From 0 to 1, how suspicious: the probability; 1 from 16 bits on; the place between the line's extremes."""
        if self.kind == "replaced":
            return self.values
        if self.kind == "surprise":
            return np.clip(self.values / 16, 0, 1)
        low, high = self.values.min(initial=0), self.values.max(initial=0)
        return (self.values - low) / max(high - low, 1e-9)


def kind_of(model: Opened) -> Kind | None:
    """What a model can say of a token; None if nothing."""
    if model.rtd is not None:
        return "replaced"
    if model.energy is not None:
        return "energy"
    return "surprise" if model.lm is not None else None


def room(encoder: Encoder) -> int:
    """Tokens of text that an encoder reads at a time."""
    return getattr(encoder.config, "positions", 512) - 2


def most(model: Opened) -> int:
    """Tokens of a text that a model can be asked about in seconds: surprise reads the text once for every token."""
    if kind_of(model) != "surprise" or model.lm is None:
        return LONGEST
    size = sum(parameter.numel() for parameter in model.lm.encoder.layers.parameters())
    wide, budget = room(model.lm.encoder) + 2, BUDGET / max(1, size)
    return max(16, min(LONGEST, int(math.sqrt(budget) if math.sqrt(budget) < wide else budget / wide)))


def verdict(model: Opened, line: Line) -> Verdict | None:
    """The model's verdict on every token of a line of at most `most` tokens; None if it has nothing to say."""
    kind = kind_of(model)
    if kind is None:
        return None
    texts = texts_of(line)
    encoder = model.lm.encoder if kind == "surprise" and model.lm is not None else model.encoder
    cut = rows(texts, room(encoder))
    where = Place(next(encoder.parameters()).device)
    if kind == "surprise" and model.lm is not None:
        values = -guesses(model.lm, texts, cut, model.vocab, where).astype(np.float64) / math.log(2)
    else:
        head = model.rtd if kind == "replaced" else model.energy
        assert head is not None
        values = verdicts(encoder, head, texts, cut, model.vocab, where).astype(np.float64)
        if kind == "replaced":
            values = torch.from_numpy(values).sigmoid().numpy()
    return Verdict(kind, values, len(cut.start))


def texts_of(line: Line) -> Texts:
    """A line as the networks of `zeroshot` read it."""
    words: Int[np.ndarray, " n"] = np.array([token.word for token in line.tokens], np.int32)
    return Texts(line.ids, words, np.array([0, len(line.tokens)], np.int64))
