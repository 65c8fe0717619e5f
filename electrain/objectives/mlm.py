"""Masked language modelling: which token stood here? (Devlin et al., 2019, section 3.1)."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, gather
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, masked_lm
from electrain.objectives.base import Objective, Scored
from electrain.vocab import Vocab


@final
class Mlm(Objective):
    """Cross-entropy of the true tokens at the selected places; the output table is the input table."""

    @dataclass(frozen=True)
    class Config(Objective.Config):
        """Nothing to choose."""

        def build(self, vocab: Vocab, encoder: Encoder) -> "Mlm":
            return Mlm(encoder)

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.head = MlmHead(encoder)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return mlm_head(shape, embedding=encoder.tokens.embedding_dim, hidden=encoder.width, part="masked LM")

    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        logits = self.head(gather(hidden, seen.picked.index), encoder.tokens.weight)
        target = batch.ids.gather(1, seen.picked.index)
        loss, _, metrics = masked_lm(logits, target, seen.picked.valid)
        return Scored(loss, metrics)
