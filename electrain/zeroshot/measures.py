"""How natural a model finds text: a logarithm for every token, by what the model has to say."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, final

import numpy as np
import torch
from jaxtyping import Float

from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, RtdHead
from electrain.errors import UserError
from electrain.hub.opened import Lm, Opened, opened
from electrain.tracking import say
from electrain.zeroshot.forward import Place, guesses, verdicts
from electrain.zeroshot.options import By, Device, Dtype
from electrain.zeroshot.texts import Rows, Texts, distinct, encode, rows

Chosen = Literal["rtd", "pll", "both", "energy"]


@final
@dataclass(frozen=True)
class Measure:
    """Scores texts by one of the measures:

    rtd     log P(original) by the discriminator, which reads the text as it is
    pll     log P(token | the rest) by the masked language model, within-word left-to-right (`forward.guesses`)
    both    log of the data's probability that the two together give (`combined`)
    energy  minus Electric's energy
    """

    by: Chosen
    model: Opened
    lm: Lm | None
    rate: float
    where: Place

    def encode(self, texts: Sequence[str]) -> Texts:
        """Token ids, without special ones."""
        return encode(self.model.tokenizer, texts)

    def rows(self, texts: Texts) -> Rows:
        """The texts as the networks read them; long ones in windows."""
        asked = [self.model.encoder] if self.by != "pll" else []
        asked += [self.lm.encoder] if self.lm is not None else []
        return rows(texts, min(room(encoder) for encoder in asked))

    def tokens(self, texts: Texts) -> Float[np.ndarray, " n"]:
        """Of every token, float64; 0 for special tokens. UserError if one is not a number."""
        vocab, cut = self.model.vocab, self.rows(texts)
        said = guessed = np.zeros(len(texts.ids), np.float32)
        if (head := self.model.energy if self.by == "energy" else self.model.rtd) is not None and self.by != "pll":
            said = verdicts(self.model.encoder, head, texts, cut, vocab, self.where).astype(np.float64)
        if self.lm is not None:
            guessed = guesses(self.lm, texts, cut, vocab, self.where).astype(np.float64)
        if not (np.isfinite(said).all() and np.isfinite(guessed).all()):
            raise UserError(f"{self.model.name}: gives scores that are no numbers; choose another checkpoint")
        match self.by:
            case "rtd":
                scores = -np.logaddexp(0.0, said)
            case "pll":
                scores = guessed
            case "both":
                scores = combined(said, guessed, self.rate)
            case "energy":
                scores = -said
        scores[np.isin(texts.ids, vocab.special)] = 0.0
        return scores

    def sums(self, texts: Sequence[str], *, encoded: Texts | None = None) -> Float[np.ndarray, " m"]:
        """Of every text, the sum over its tokens, not divided by their number. The same tokens get the same sum."""
        once, inverse = distinct(self.encode(texts) if encoded is None else encoded)
        count = len(once.ends) - 1
        of = np.repeat(np.arange(count), np.diff(once.ends))
        # Of no texts at all, bincount counts in whole numbers.
        return np.bincount(of, self.tokens(once), minlength=count).astype(np.float64)[inverse]


def combined(
    logit: Float[np.ndarray, " n"], log_guess: Float[np.ndarray, " n"], rate: float
) -> Float[np.ndarray, " n"]:
    """Log of p_data = D p_G / (a (1 - D) + p_G), a = (1 - rate) / rate (ELECTRA, appendix G).

    logit:      the discriminator's, of "replaced"; D = sigmoid(-logit)
    log_guess:  the generator's log p_G of the token that stands there
    rate:       share of the tokens that the generator replaced in pre-training

    A discriminator that knows p_data and p_G says D = p_data (a + p_G) / (p_data a + p_G): this is solved for p_data.
    """
    log_a = math.log1p(-rate) - math.log(rate)
    return -np.logaddexp(0.0, logit) + log_guess - np.logaddexp(log_a - np.logaddexp(0.0, -logit), log_guess)


def measure(
    model: Opened, by: By, generator: str, rate: float | None, device: Device, dtype: Dtype, tick: Callable[[int], None]
) -> Measure:
    """The measure that was chosen, its networks on their device. UserError if the model has not what it takes."""
    chosen = _chosen(model, by, generator)
    lm = None
    if chosen in ("pll", "both"):
        lm = generator_of(model, generator) if generator else model.lm
        if lm is None:
            raise UserError(
                f"{model.name}: has no masked language model, which --by {chosen} needs; name one with --generator"
            )
    if rate is not None and not 0 < rate < 1:
        raise UserError(f"--rate {rate}: it is a share, above 0 and below 1")
    place = place_of(device, dtype, tick)
    for module in (model.encoder, model.rtd, model.energy, *(lm or ())):
        if module is not None:
            module.to(place.device)
    return Measure(chosen, model, lm, model.rate if rate is None else rate, place)


def place_of(device: Device, dtype: Dtype, tick: Callable[[int], None]) -> Place:
    """The device that was asked for. UserError if it is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU; use --device cpu")
    here = "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"
    return Place(torch.device(here), getattr(torch, dtype), tick)


def untrained(model: Opened) -> Opened:
    """The same architecture with fresh weights and fresh heads, always the same: what chance gives."""
    torch.manual_seed(0)
    encoder = model.encoder.config.build(model.vocab)
    lm = None
    if model.lm is not None:
        own = encoder if model.lm.encoder is model.encoder else model.lm.encoder.config.build(model.vocab)
        lm = Lm(own.eval(), MlmHead(own).eval())
    rtd = RtdHead(encoder).eval() if model.rtd is not None else None
    energy = RtdHead(encoder).eval() if model.energy is not None else None
    return model._replace(encoder=encoder.eval(), rtd=rtd, lm=lm, energy=energy)


def _chosen(model: Opened, by: By, generator: str) -> Chosen:
    if by == "auto":
        there: dict[Chosen, object] = {"rtd": model.rtd, "energy": model.energy, "pll": model.lm or generator}
        found = next((name for name, part in there.items() if part), None)
        if found is None:
            raise UserError(
                f"{model.name}: has neither discriminator nor masked language model; choose another --model"
            )
        return cast(Chosen, found)
    if by in ("rtd", "both") and model.rtd is None:
        instead = "energy" if model.energy is not None else "pll"
        raise UserError(f"{model.name}: has no discriminator, which --by {by} needs; choose --by {instead}")
    if by == "energy" and model.energy is None:
        raise UserError(f"{model.name}: is no run of Electric, which --by energy needs; choose --by rtd or pll")
    return cast(Chosen, by)  # auto is done with above


def generator_of(model: Opened, place: str) -> Lm:
    """The masked language model that lies elsewhere. UserError if there is none, or it has another vocabulary."""
    other = opened(place, warn=say)
    if other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise UserError(
            f"--generator {place}: has another vocabulary than {model.name}; choose the one trained with it"
        )
    if other.lm is None:
        raise UserError(f"--generator {place}: holds no masked language model; choose a generator or a BERT")
    return other.lm


def room(encoder: Encoder) -> int:
    """Tokens of text that an encoder reads at a time."""
    return getattr(encoder.config, "positions", 512) - 2
