"""The masked language model that proposes replacements: a small encoder and a tied head."""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Selection, gather, sample
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, masked_lm
from electrain.metrics import Metrics, mean
from electrain.randomness import Stream, drop, uniform


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
        self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection, reader: Encoder, *, dropout: bool
    ) -> Proposal:
        """Read the masked `ids`, score the text's own tokens at the picked places, sample replacements."""
        encoder = self.encoder if self.encoder is not None else reader
        source = drop(batch.key, Stream.GENERATOR) if dropout else None
        hidden = encoder(ids, batch.real, batch.segments, drop=source)
        logits = self.head(gather(hidden, picked.index), encoder.tokens.weight)
        target = batch.ids.gather(1, picked.index)
        u = uniform(batch.key, Stream.SAMPLE, picked.index)
        # The draw sees detached logits: no gradient passes through a sample (ELECTRA, section 2).
        sampled = sample(logits, u)
        loss, nll, metrics = masked_lm(logits, target, picked.valid)
        with torch.no_grad():
            # -log p(sample), whose mean is the entropy of the proposals: no further pass over the vocabulary.
            right, drawn = (logits.gather(2, token[..., None]).squeeze(2) for token in (target, sampled))
            metrics["generator_entropy"] = mean(nll + (right - drawn).float(), picked.valid)
        return Proposal(loss, sampled, metrics)
