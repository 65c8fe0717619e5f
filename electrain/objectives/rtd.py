"""Replaced token detection: was this token in the text? (ELECTRA, section 2)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from electrain.batch import Batch, chosen
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, rtd_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import RtdHead
from electrain.metrics import average, histograms, mean
from electrain.objectives.base import Objective, Scored
from electrain.vocab import Vocab


@final
class Rtd(Objective):
    """Binary cross-entropy over every real token, [CLS] and [SEP] included (official code)."""

    @dataclass(frozen=True)
    class Config(Objective.Config):
        """ELECTRA scores all tokens; ELECTRA 15 % (section 3.5) only the selected ones."""

        places: Literal["all", "selected"] = "all"
        """Which places count in the loss."""

        def build(self, vocab: Vocab, encoder: Encoder) -> "Rtd":
            return Rtd(self, encoder)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__()
        self.config = config
        self.head = RtdHead(encoder)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return (rtd_head(shape, hidden=encoder.width, part="replaced-token head"),)

    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        logits = self.head(hidden).float()
        loss = F.binary_cross_entropy_with_logits(logits, seen.replaced.float(), reduction="none")
        picked = chosen(seen.picked, batch.ids.shape[1])
        where = batch.real if self.config.places == "all" else picked
        total = average(loss, where)
        with torch.no_grad():
            guess = logits > 0
            metrics = {
                "rtd_loss": mean(loss.detach(), where),
                "rtd_accuracy": mean(guess == seen.replaced, batch.real),
                "rtd_majority": mean(~seen.replaced, batch.real),
                "rtd_recall": mean(guess, seen.replaced),
                "rtd_auc": histograms(logits, seen.replaced, batch.real),
            }
        return Scored(total, metrics, logits)

    def naturalness(self, batch: Batch, encoder: Encoder) -> Float[Tensor, " b"]:
        """Sum of log P(original)."""
        logits = self.head(encoder(batch.ids, batch.real, batch.segments)).float()
        return (F.logsigmoid(-logits) * batch.maskable).sum(1)
