"""BERT's corruption: selected places become [MASK], a random token, or stay (Devlin et al., 2019, section 3.1)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.masking import mask
from electrain.encoders.base import Encoder, computation_of
from electrain.errors import UserError
from electrain.source import Source
from electrain.vocab import Vocab


@final
class Mask(Corruptor):
    """Masks; learns nothing."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """BERT's 15 %, of it 80 % [MASK], 10 % random, 10 % as it was."""

        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        masked: float = 0.8
        """Share of the selected places that become [MASK]."""
        random: float = 0.1
        """Share of the selected places that become a random token; the rest stay."""
        replacement: bool = False
        """Draw places with replacement, as the official ELECTRA code; repeated draws are dropped."""
        encoder_start: Literal["fresh", "first"] = "fresh"
        """What the encoder starts from: fresh weights, or those of the stage before, whatever it was trained for."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, self.random)

        def build(self, vocab: Vocab, encoder: Encoder) -> "Mask":
            return Mask(self, vocab)

        def resolve(self, source: Source) -> "Mask.Config":
            if self.encoder_start == "first":
                source.encoder()  # or it would be missed only when all else is built
            return self

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config = config
        self.vocab = vocab

    def start(self, source: Source, encoder: Encoder) -> str:
        if self.config.encoder_start == "fresh":
            return ""
        theirs = source.encoder()
        if not isinstance(theirs, Encoder) or computation_of(theirs) != computation_of(encoder):
            raise UserError(
                "corruptor: encoder_start first needs an encoder of the first stage's own sizes; give both stages the "
                "same, or set --system.corruptor.encoder-start fresh"
            )
        encoder.load_state_dict(theirs.state_dict())
        return "the encoder starts from the first stage's, the head is fresh"

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate, replacement=self.config.replacement)
        ids = mask(batch, picked, self.vocab, masked=self.config.masked, random=self.config.random)
        loss = torch.zeros((), device=ids.device)
        return Corrupted(ids, picked, ids != batch.ids, None, loss, {})


def check_shares(rate: float, masked: float, random: float) -> None:
    """Shares between 0 and 1 that leave something to select and sum to at most 1."""
    if not 0 < rate <= 1:
        raise UserError(f"corruptor: rate is {rate}; it is a share of the tokens, above 0 and at most 1")
    if masked < 0 or random < 0 or masked + random > 1:
        raise UserError(f"corruptor: masked {masked} + random {random} must lie between 0 and 1")
