"""The network that is fine-tuned: a pre-trained encoder and a task's head."""

from dataclasses import replace
from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.finetune.task import Head
from electrain.randomness import Stream, drop
from electrain.vocab import Vocab


@final
class Tuned(nn.Module):
    """An encoder and a head; called with targets, it is the mean loss of the rows that count."""

    def __init__(self, encoder: Encoder, head: Head):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch, target: Shaped[Tensor, "b n"], weight: Float[Tensor, " b"]) -> Float[Tensor, ""]:
        """weight: 1 for a row that counts, 0 for one that only fills the batch."""
        source = drop(batch.key, Stream.DISCRIMINATOR) if self.training else None
        hidden = self.encoder(batch.ids, batch.real, batch.segments, drop=source)
        losses = self.head(hidden, batch, target, source)
        return (losses * weight).sum() / weight.sum()

    def predict(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the head says of every row, nothing dropped."""
        return self.head.predict(self.encoder(batch.ids, batch.real, batch.segments), batch)


def copied(encoder: Encoder, vocab: Vocab, dropout: float) -> Encoder:
    """A copy of an encoder with its weights, and with this dropout (of attention too where it has one)."""
    config = encoder.config
    if isinstance(config, Bert.Config):
        config = replace(config, dropout=dropout, attention_dropout=dropout)
    elif isinstance(config, Modern.Config):
        config = replace(config, dropout=dropout)
    made = config.build(vocab)
    made.load_state_dict(encoder.state_dict())
    return made
