"""The masked language model that proposes replacements: a small encoder and a tied head."""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, Selection, gather, sample
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead
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
        return Proposal(*score(logits, target, picked, sampled))


def score(
    logits: Float[Tensor, "b k v"], target: Int[Tensor, "b k"], picked: Selection, sampled: Int[Tensor, "b k"]
) -> tuple[Float[Tensor, ""], Int[Tensor, "b k"], Metrics]:
    """Mean cross-entropy of the true tokens over valid places, the sample passed on, and metrics.

    The entropy of the proposals is estimated by -log p(sample), whose mean it is: no further pass over the vocabulary.
    """
    nll = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none").view(target.shape)
    weight = picked.valid.float()
    loss = (nll * weight).sum() / weight.sum().clamp(min=1)
    with torch.no_grad():
        right = logits.gather(2, target[..., None]).squeeze(2)
        drawn = logits.gather(2, sampled[..., None]).squeeze(2)
        surprise = nll.detach() + (right - drawn).float()
        metrics = {
            "mlm_loss": mean(nll.detach(), picked.valid),
            "mlm_accuracy": mean(right >= logits.amax(2), picked.valid),
            "generator_entropy": mean(surprise, picked.valid),
        }
    return loss, sampled, metrics
