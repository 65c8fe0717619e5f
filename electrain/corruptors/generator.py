"""The masked language model that proposes replacements: a small encoder and a tied head."""

from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Selection, gather, sample
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, masked_lm
from electrain.metrics import Metrics, mean
from electrain.randomness import Stream, drop, uniform
from electrain.tail import Tail, kept

Right = Literal["allowed", "never"]
"""Whether a sample may be the text's own token. ELECTRA allows it."""


class Proposal(NamedTuple):
    """What the generator thinks of the selected places: loss of the true tokens, a sample, metrics."""

    loss: Float[Tensor, ""]
    sampled: Int[Tensor, "b k"]
    metrics: Metrics


@final
class Generator(nn.Module):
    """Masked LM over the selected places only: vocabulary-sized logits elsewhere would be thrown away.

    encoder: its own, or None where generator and discriminator are one encoder (tying "all")
    """

    def __init__(self, encoder: Encoder | None, reader: Encoder):
        super().__init__()
        self.encoder = encoder
        self.head = MlmHead(encoder if encoder is not None else reader)

    def forward(
        self,
        ids: Int[Tensor, "b t"],
        batch: Batch,
        picked: Selection,
        reader: Encoder,
        *,
        dropout: bool,
        temperature: Float[Tensor, ""] | None = None,
        right: Right = "allowed",
        tail: Tail | None = None,
    ) -> Proposal:
        """Read the masked `ids`, score the text's own tokens at the picked places, sample replacements."""
        encoder = self.encoder if self.encoder is not None else reader
        source = drop(batch.key, Stream.GENERATOR) if dropout else None
        hidden = encoder(ids, batch.real, batch.segments, drop=source)
        logits = self.head(gather(hidden, picked.index), encoder.tokens.weight)
        return propose(logits, batch, picked, temperature, right, tail)


def propose(
    logits: Float[Tensor, "b k v"],
    batch: Batch,
    picked: Selection,
    temperature: Float[Tensor, ""] | None = None,
    right: Right = "allowed",
    tail: Tail | None = None,
) -> Proposal:
    """What logits over the vocabulary at the picked places say: loss of the text's own tokens, a sample, metrics.

    temperature: of the softmax that is sampled from, 1 if it is None; the loss is that of the logits as they are
    right:       "never" takes the text's own token away before the draw
    tail:        how many of the likeliest tokens are drawn as they are, and the weights of all others
    """
    target = batch.ids.gather(1, picked.index)
    u = uniform(batch.key, Stream.SAMPLE, picked.index)
    loss, nll, metrics = masked_lm(logits, target, picked.valid)
    # The draw sees detached logits: no gradient passes through a sample (ELECTRA, section 2).
    with torch.no_grad():
        if tail is not None:
            sampled, logp = kept(logits, tail, temperature, u)
            entropy = -logp.float()
        else:
            drawn_from = _shaped(logits.detach(), target, temperature, right)
            sampled = sample(drawn_from, u)
            # -log p(sample), whose mean is the entropy of the proposals.
            if temperature is None and right == "allowed":  # then without a further pass over the vocabulary
                mass = nll + _at(logits, target)
            else:
                mass = drawn_from.float().logsumexp(2)
            entropy = mass - _at(drawn_from, sampled)
        metrics["generator_entropy"] = mean(entropy, picked.valid)
        metrics["sampled_right"] = mean(sampled == target, picked.valid)
    return Proposal(loss, sampled, metrics)


def _at(logits: Float[Tensor, "b k v"], tokens: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    return logits.gather(2, tokens[..., None]).squeeze(2).float()


def _shaped(
    logits: Float[Tensor, "b k v"], target: Int[Tensor, "b k"], temperature: Float[Tensor, ""] | None, right: Right
) -> Float[Tensor, "b k v"]:
    if temperature is not None:
        logits = logits / temperature
    return logits if right == "allowed" else logits.scatter(2, target[..., None], -torch.inf)
