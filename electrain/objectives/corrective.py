"""Corrective language modelling: copy what is right, correct what is not (COCO-LM, section 3.2; Meng et al., 2021)."""

from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, Selection, gather
from electrain.corruptors.base import Corrupted
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead
from electrain.errors import UserError
from electrain.metrics import average, histograms, mean
from electrain.objectives.base import Objective, Scored
from electrain.vocab import Vocab


@final
class Corrective(Objective):
    """Binary cross-entropy of the copy gate over every real token, and that of the text's own tokens under gate and LM.

    With gate c = sigmoid(w h), the input's token s and the language model q: p(x) = c 1[x = s] + (1 - c) q(x). In the
    second loss the gate is a constant, for itself and for the encoder: it learns from the first alone, so that the
    easier question is answered first and helps with the harder one.
    """

    @dataclass(frozen=True)
    class Config(Objective.Config):
        """The paper's weight of the gate, and its places."""

        copy: float = 50.0
        """Weight of the gate's loss beside the language model's."""
        places: Literal["selected", "all"] = "selected"
        """Where the language model is asked: at the selected places, as the official code; or at every real token,
        which costs logits over the vocabulary for each of them."""

        def __post_init__(self) -> None:
            if self.copy <= 0:
                raise UserError(f"objective: copy is {self.copy}; nothing else trains the gate: above 0")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Corrective":
            return Corrective(self, encoder)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__()
        self.config = config
        self.gate = nn.Linear(encoder.width, 1)
        self.head = MlmHead(encoder)
        encoder.start(self.gate)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        gate = 2 * shape.length * encoder.width
        asked = shape if self.config.places == "selected" else replace(shape, selected=shape.length)
        head = mlm_head(asked, embedding=encoder.tokens.embedding_dim, hidden=encoder.width, part="corrective LM")
        return Work("copy gate", gate, gate), *head

    def forward(self, hidden: Float[Tensor, "b t d"], seen: Corrupted, batch: Batch, encoder: Encoder) -> Scored:
        picked = seen.picked
        if self.config.places == "all":
            place = torch.arange(batch.ids.shape[1], device=batch.ids.device)
            picked = Selection(place.expand_as(batch.ids), batch.real)
        copy = self.gate(hidden).squeeze(-1).float()
        each = F.binary_cross_entropy_with_logits(copy, (~seen.replaced).float(), reduction="none")
        gate_loss = average(each, batch.real)

        logits = self.head(gather(hidden, picked.index), encoder.tokens.weight).float()
        log_copy, log_write = (F.logsigmoid(sign * copy.detach().gather(1, picked.index)) for sign in (1, -1))
        total = logits.logsumexp(-1)
        true, shown = (ids.gather(1, picked.index) for ids in (batch.ids, seen.ids))
        written, kept = (log_write + logits.gather(2, ids[..., None]).squeeze(2) - total for ids in (true, shown))
        kept = torch.logaddexp(log_copy, kept)
        log_p = torch.where(true == shown, kept, written)
        lm_loss = average(-log_p, picked.valid)
        with torch.no_grad():
            best = logits.amax(-1)
            right = log_p >= torch.maximum(kept, log_write + best - total)
            found = logits.gather(2, true[..., None]).squeeze(2) >= best
            guess = copy < 0
            metrics = {
                "copy_loss": mean(each.detach(), batch.real),
                "clm_loss": mean(-log_p.detach(), picked.valid),
                "clm_accuracy": mean(right, picked.valid),
                "corrected": mean(found, picked.valid & (true != shown)),
                "rtd_accuracy": mean(guess == seen.replaced, batch.real),
                "rtd_majority": mean(~seen.replaced, batch.real),
                "rtd_recall": mean(guess, seen.replaced),
                "rtd_auc": histograms(-copy, seen.replaced, batch.real),
            }
        return Scored(self.config.copy * gate_loss + lm_loss, metrics, -copy)
