"""Fast-ELECTRA's corruption: a frozen masked LM, whose samples get harder as its temperature falls (Dong et al.)."""

from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, sample, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.cost import Shape, Work
from electrain.curriculum import Schedule
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import mean
from electrain.randomness import Stream, uniform
from electrain.source import READ, MaskedLm, Source
from electrain.vocab import Vocab

FALLING = Schedule("exponential", start=2.0, end=1.0, decay=0.1)
"""T(u) = 1 + exp(-u / 0.1): the form is the paper's, its values are from memory of it (a default to sweep)."""


@final
class Frozen(Corruptor):
    """Masks places, reads them with a masked LM that was trained before, and puts its tempered samples there."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """A generator from elsewhere, forward only: no gradient, no optimizer state, no dropout."""

        source: str = ""
        """The generator: a run of ours, a folder that transformers loads, or a Hub name; "" for the stage before."""
        generator: MaskedLm.Config | None = field(default=None, metadata=READ)
        """Its sizes, read from the source when the run begins; until then what is expected, for counting."""
        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        masked: float = 0.85
        """Share of the selected places that the generator reads as [MASK]; the rest stay."""
        temperature: Schedule = FALLING
        """Of the softmax that is sampled from."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, 0.0)
            if min(self.temperature.values) <= 0:
                raise UserError(f"corruptor: temperature reaches {min(self.temperature.values)}; keep it above 0")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Frozen":
            return Frozen(self, vocab)

        def resolve(self, source: Source) -> "Frozen.Config":
            return replace(self, generator=source.masked_lm(self.source).config)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        if config.generator is None:
            raise UserError("corruptor: the frozen generator's sizes are not known; name it with source")
        self.config = config
        self.vocab = vocab
        self.generator = config.generator.build(vocab).requires_grad_(False)

    def start(self, source: Source, encoder: Encoder) -> str:
        self.generator.load_state_dict(source.masked_lm(self.config.source).state_dict())
        return f"frozen generator from {self.config.source or 'the first stage'}"

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return self.generator.cost(shape, "frozen generator", trained=False)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        temperature = self.config.temperature(progress)
        with torch.no_grad():
            masked = mask(batch, picked, self.vocab, masked=self.config.masked, random=0.0)
            logits = self.generator.logits(masked, batch, picked)
            sampled = sample(logits / temperature, uniform(batch.key, Stream.SAMPLE, picked.index))
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        right = sampled == batch.ids.gather(1, picked.index)
        metrics = {
            "replaced": mean(replaced, batch.real),
            "sampled_right": mean(right, picked.valid),
            "temperature": mean(temperature, torch.ones_like(temperature)),
        }
        return Corrupted(ids, picked, replaced, None, torch.zeros((), device=ids.device), metrics)
