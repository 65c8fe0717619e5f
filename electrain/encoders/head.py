"""The two heads of the field: a word for every selected place, a verdict for every token."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.encoders.base import Encoder
from electrain.metrics import Metrics, average, mean


@final
class MlmHead(nn.Module):
    """Masked-LM head: dense, GELU, LayerNorm, the tied token table and a bias (ELECTRA's official code; BERT's too)."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        size, embedding = encoder.tokens.weight.shape
        self.dense = nn.Linear(encoder.width, embedding, bias=encoder.head_bias)
        self.norm = nn.LayerNorm(embedding, eps=encoder.norm_eps, bias=encoder.head_bias)
        self.bias = nn.Parameter(torch.zeros(size))
        encoder.start(self.dense)

    def forward(self, hidden: Float[Tensor, "*n d"], table: Float[Tensor, "v e"]) -> Float[Tensor, "*n v"]:
        """Logits over the vocabulary, by the token table of the encoder that the head is tied to."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), table, self.bias)


def masked_lm(
    logits: Float[Tensor, "b k v"], target: Int[Tensor, "b k"], valid: Bool[Tensor, "b k"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "b k"], Metrics]:
    """Mean cross-entropy of the true tokens over valid slots (Devlin et al., 2019, section 3.1); that of every slot,
    without gradient; loss and accuracy as metrics.
    """
    nll = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), reduction="none").view(target.shape)
    with torch.no_grad():
        right = logits.gather(2, target[..., None]).squeeze(2) >= logits.amax(2)
        metrics = {"mlm_loss": mean(nll.detach(), valid), "mlm_accuracy": mean(right, valid)}
    return average(nll, valid), nll.detach(), metrics


@final
class RtdHead(nn.Module):
    """Replaced-token head: dense, GELU, one logit, positive where a token looks replaced (ELECTRA's official code).

    With a LayerNorm before the logit where the encoder's heads have one (transformers' ModernBERT).
    """

    def __init__(self, encoder: Encoder):
        super().__init__()
        bias, normed = encoder.head_bias, encoder.verdict_norm
        self.dense = nn.Linear(encoder.width, encoder.width, bias=bias)
        self.norm = nn.LayerNorm(encoder.width, eps=encoder.norm_eps, bias=bias) if normed else nn.Identity()
        self.out = nn.Linear(encoder.width, 1)
        encoder.start(self.dense)
        encoder.start(self.out)

    def forward(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        return self.out(self.norm(F.gelu(self.dense(hidden)))).squeeze(-1)
