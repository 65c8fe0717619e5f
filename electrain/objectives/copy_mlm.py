"""All-Tokens MLM: which token stood at every place, the one that is read or another? (ELECTRA, section 3.5)."""

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, chosen
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.everywhere import log_probabilities
from electrain.encoders.head import MlmHead
from electrain.metrics import average, mean
from electrain.objectives.base import Objective, Scored
from electrain.vocab import Vocab


@final
class CopyMlm(Objective):
    """Cross-entropy of the text's own tokens at every real place, under a copy gate and a masked-LM head.

    With gate D = sigmoid(w h), the input's token s and the head's softmax q: p(x) = D 1[x = s] + (1 - D) q(x) (Clark et
    al., 2020, section 3.5), computed in log space. One loss trains gate and head: where s was left alone the gate can
    open, where it was replaced it must close. The gate's bias is ours.
    """

    @dataclass(frozen=True)
    class Config(Objective.Config):
        """Nothing to choose."""

        def build(self, vocab: Vocab, encoder: Encoder) -> "CopyMlm":
            return CopyMlm(encoder)

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.gate = nn.Linear(encoder.width, 1)
        self.head = MlmHead(encoder)
        encoder.start(self.gate)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        """The head at every place in both counts; the third of its work that the backward pass repeats is left out."""
        gate = 2 * shape.length * encoder.width
        everywhere = replace(shape, selected=shape.length)
        head = mlm_head(
            everywhere, embedding=encoder.tokens.embedding_dim, hidden=encoder.width, part="all tokens", share=1.0
        )
        return Work("copy gate", gate, gate), *head

    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        copy = self.gate(hidden).squeeze(-1).float()
        ids = torch.stack([batch.ids, seen.ids], -1).flatten(0, 1)
        asked, best = log_probabilities(self.head, hidden.flatten(0, 1), encoder.tokens.weight, ids)
        true, read = (F.logsigmoid(-copy) + log_q.view_as(copy) for log_q in asked.unbind(-1))
        kept = torch.logaddexp(F.logsigmoid(copy), true)
        same = seen.ids == batch.ids
        log_p = torch.where(same, kept, true)
        loss = average(-log_p, batch.real)
        with torch.no_grad():
            gate = copy.sigmoid()
            # The likeliest token is the one that is read or the head's own best: right if the true one is no less so.
            shown = torch.logaddexp(F.logsigmoid(copy), read)
            right = log_p >= torch.maximum(shown, F.logsigmoid(-copy) + best.view_as(copy))
            picked = chosen(seen.picked, batch.ids.shape[1])
            metrics = {
                "copy_loss": mean(-log_p, batch.real),
                "gate_untouched": mean(gate, batch.real & same),
                "gate_replaced": mean(gate, batch.real & ~same),
                "mlm_accuracy": mean(right, picked),
            }
        return Scored(loss, metrics)
