"""corrupt -> encode -> score: all that the training loop ever calls."""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.corruptors.base import Corruptor
from electrain.encoders.base import Encoder
from electrain.metrics import Metrics
from electrain.objectives.base import Objective
from electrain.randomness import Stream, drop
from electrain.vocab import Vocab


class Output(NamedTuple):
    """loss (), what is minimised; additive metrics."""

    loss: Float[Tensor, ""]
    metrics: Metrics


@final
class System(nn.Module):
    """A corruptor, the encoder that is being pre-trained, and an objective."""

    @dataclass(frozen=True)
    class Config:
        """The three parts and the weight between them."""

        encoder: Encoder.Config
        """The encoder that is being pre-trained."""
        corruptor: Corruptor.Config
        """What proposes the tokens at the selected places."""
        objective: Objective.Config
        """What is asked of the encoder."""
        weight: float = 1.0
        """Weight of the objective's loss beside the corruptor's own (lambda; ELECTRA: 50)."""

        def build(self, vocab: Vocab) -> "System":
            return System(self, vocab)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.weight = config.weight
        self.encoder = config.encoder.build(vocab)
        self.corruptor = config.corruptor.build(vocab, self.encoder)
        self.objective = config.objective.build(vocab, self.encoder)

    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        """Loss and metrics of a batch at a fraction `progress` of training. In evaluation mode nothing is dropped."""
        seen = self.corruptor(batch, self.encoder, progress)
        source = drop(batch.key, Stream.DISCRIMINATOR) if self.training else None
        hidden = self.encoder(seen.ids, batch.real, batch.segments, drop=source, delta=seen.delta)
        scored = self.objective(hidden, seen, batch, self.encoder)
        loss = seen.loss + self.weight * scored.loss
        total = torch.stack([loss.detach().float(), torch.ones_like(loss, dtype=torch.float)])
        return Output(loss, {"loss": total, **seen.metrics, **scored.metrics})
