r"""Electric: an energy-based cloze model, by noise-contrastive estimation (Clark et al., EMNLP 2020, 2012.08561).

The model says p(x_t | rest) = exp(-E(x)_t), without normalising. Of n places k hold noise from a proposal q, the other
n - k the text. For a token s seen at a place, data has the density (n - k) p(s) and noise k q(s), so that

    log P(noise) / P(data)  =  log(k q(s)) - log((n - k) exp(-E))  =  E(x)_t + log q(s) + log(k / (n - k))

is the logit of "noise", and binary cross-entropy makes E(x)_t = -log p(s | rest), normalised by itself. Two things are
unlike ELECTRA: a place that was drawn for noise is noise even where the draw is the text's own token, and q must be
known of what the text says at places without noise, not only of what was drawn.

Every row that is trained on holds k places of noise, and the model may use that: the better the other places look, the
likelier is noise here. So on a row without noise exp(-E) sums to less than 1, and scores of rows are pulled together.
At 15 % of noise they serve for rescoring (a test shows it); with most of the places noise they would not.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, chosen
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, rtd_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import RtdHead
from electrain.errors import UserError
from electrain.metrics import average, histograms, mean
from electrain.objectives.base import Objective, Scored
from electrain.vocab import Vocab


@final
class Electric(Objective):
    """Noise or data, knowing the proposal, at every place where a proposal is known (section 2.3, algorithm 1)."""

    @dataclass(frozen=True)
    class Config(Objective.Config):
        """Nothing to choose."""

        def build(self, vocab: Vocab, encoder: Encoder) -> "Electric":
            return Electric(vocab, encoder)

    def __init__(self, vocab: Vocab, encoder: Encoder):
        super().__init__()
        # The official code's head, ELECTRA's; the paper writes a product with one vector. Its output is the energy.
        self.head = RtdHead(encoder)
        # The uniform distribution, ours. From 0, the classifier would first call everything data for a while.
        nn.init.constant_(self.head.out.bias, math.log(vocab.size))

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return (rtd_head(shape, hidden=encoder.width, part="energy head"),)

    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        if seen.log_proposal is None:
            raise UserError("objective: Electric needs a corruptor that knows its proposals: Unigram or Cloze")
        energy = self.head(hidden).float()
        noise = chosen(seen.picked, batch.ids.shape[1])
        logits, where = noise_logits(energy, seen.log_proposal, noise)
        each = F.binary_cross_entropy_with_logits(logits, noise.float(), reduction="none")
        loss = average(each, where)
        with torch.no_grad():
            metrics = {
                "nce_loss": mean(each.detach(), where),
                "nce_accuracy": mean((logits > 0) == noise, where),
                "nce_majority": mean(~noise, where),
                "nce_auc": histograms(logits, noise, where),
                "energy_data": mean(energy.detach(), where & ~noise),
                "energy_noise": mean(energy.detach(), where & noise),
            }
        return Scored(loss, metrics)

    def naturalness(self, batch: Batch, encoder: Encoder) -> Float[Tensor, " b"]:
        energy = self.head(encoder(batch.ids, batch.real, batch.segments)).float()
        return -(energy * batch.maskable).sum(1)


def noise_logits(
    energy: Float[Tensor, "b t"], log_proposal: Float[Tensor, "b t"], noise: Bool[Tensor, "b t"]
) -> tuple[Float[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """The logit of "noise" at every place, and where it counts.

    log_proposal: -inf where the token cannot be noise. Such a place is data for certain and teaches nothing: it counts
                  neither in the loss nor in n. A row that holds noise only, or none, counts nowhere: its odds are
                  infinite.
    """
    known = log_proposal.isfinite()
    n = known.sum(1, keepdim=True)
    k = (noise & known).sum(1, keepdim=True)
    where = known & (k > 0) & (k < n)
    odds = k.clamp(min=1).float().log() - (n - k).clamp(min=1).float().log()
    # A constant: the proposal is trained by its own likelihood alone.
    return energy + torch.where(where, log_proposal.detach(), 0.0) + odds, where
