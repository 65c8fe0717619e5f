"""Fast-ELECTRA's corruption: a frozen masked LM, whose samples get harder as training goes on (Dong et al., 2024)."""

from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, sample, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.corruptors.tail import tail_of
from electrain.cost import Shape, Work
from electrain.curriculum import ONE, ZERO, Schedule
from electrain.encoders.base import Encoder, computation_of
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.metrics import mean, value
from electrain.randomness import Drop, Stream, drop, uniform
from electrain.source import READ, MaskedLm, Source
from electrain.tail import kept
from electrain.vocab import Vocab

FALLING = Schedule("exponential", start=2.0, end=1.0, decay=0.1)
"""T(u) = 1 + exp(-u / 0.1): the form is the paper's, its values are from memory of it (a default to sweep)."""


@final
class Frozen(Corruptor):
    """Masks places, reads them with a masked LM that was trained before, and puts its tempered samples there."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """A generator from elsewhere, forward only: no gradient, no optimizer state, no dropout unless it is asked for.

        Three ways to smooth what it proposes, alone or together: temperature, its dropout, the share that it must
        guess.
        """

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
        encoder_start: Literal["fresh", "generator"] = "fresh"
        """What the encoder starts from: fresh weights, or the generator's, which is then of the same size (two-stage
        training; Clark et al., 2020, section 3.2)."""
        dropout: Schedule = ZERO
        """The generator's dropout while the system trains, in place of its own rates; it works without any by 0."""
        selection: Schedule = ONE
        """The share of `rate` that is selected at the moment; the slots of a row stay as many, and fewer are valid."""
        kept: int = 0
        """Likeliest tokens that are sampled as the generator has them, the rest of its mass going by how often the data
        has a token, as from a cache; 0, and where they would be over half of the vocabulary: all as it has them."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, 0.0)
            if min(self.temperature.values) <= 0:
                raise UserError(f"corruptor: temperature reaches {min(self.temperature.values)}; keep it above 0")
            if min(self.dropout.values) < 0 or max(self.dropout.values) >= 1:
                raise UserError("corruptor: dropout must stay from 0 to below 1")
            if min(self.selection.values) <= 0 or max(self.selection.values) > 1:
                raise UserError("corruptor: selection is a share of rate; keep it above 0 and at most 1")
            if self.smoothed and self.generator is not None and not self.generator.drops:
                raise UserError(
                    "corruptor: the generator's dropout cannot be set; choose an ELECTRA, a BERT or our run"
                )

        @property
        def smoothed(self) -> bool:
            """Whether the generator drops anything at any time."""
            return max(self.dropout.values) > 0

        def build(self, vocab: Vocab, encoder: Encoder) -> "Frozen":
            return Frozen(self, vocab)

        def check(self, length: int) -> None:
            try:
                if self.generator is not None:
                    self.generator.check(length)
            except UserError as error:
                raise UserError(
                    f"corruptor: the frozen generator does not read rows of {length} tokens; choose a shorter --length "
                    "or another --system.corruptor.source"
                ) from error

        def resolve(self, source: Source) -> "Frozen.Config":
            return replace(self, generator=source.masked_lm(self.source).config)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        if config.generator is None:
            raise UserError("corruptor: the frozen generator's sizes are not known; name it with source")
        self.config = config
        self.vocab = vocab
        self.generator = config.generator.build(vocab).requires_grad_(False)
        self.tail = tail_of(config.kept, vocab)

    def start(self, source: Source, encoder: Encoder) -> str:
        self.generator.load_state_dict(source.masked_lm(self.config.source).state_dict())
        said = f"frozen generator from {self.config.source or 'the first stage'}"
        if self.tail is not None:
            said += f"; {self.tail.start(source)}"
        if self.config.encoder_start == "fresh":
            return said
        theirs = self.generator.encoder if isinstance(self.generator, EncoderLm) else None
        if theirs is None or computation_of(theirs) != computation_of(encoder):
            raise UserError(
                "corruptor: encoder_start generator needs a generator of the encoder's own sizes; change one of them, "
                "or set --system.corruptor.encoder-start fresh"
            )
        encoder.load_state_dict(theirs.state_dict())
        return f"{said}, and the encoder starts from it"

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return self.generator.cost(shape, "frozen generator", trained=False)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        config = self.config
        moving = config.selection.values != (1.0,)
        picked = select(batch, config.rate, now=config.rate * config.selection(progress) if moving else None)
        temperature = config.temperature(progress)
        with torch.no_grad():
            masked = mask(batch, picked, self.vocab, masked=config.masked, random=0.0)
            logits = self.generator.logits(masked, batch, picked, self._drop(batch, progress))
            u = uniform(batch.key, Stream.SAMPLE, picked.index)
            if self.tail is None:
                sampled = sample(logits.float() / temperature, u)
            else:
                sampled = kept(logits, self.tail(), temperature, u).token
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        right = sampled == batch.ids.gather(1, picked.index)
        metrics = {
            "replaced": mean(replaced, batch.real),
            "sampled_right": mean(right, picked.valid),
            "temperature": value(temperature),
        }
        if moving:
            metrics["selected"] = _share(picked.valid, batch.maskable)
        if config.smoothed:
            metrics["generator_dropout"] = value(config.dropout(progress))
        return Corrupted(ids, picked, replaced, None, torch.zeros((), device=ids.device), metrics)

    def _drop(self, batch: Batch, progress: Float[Tensor, ""]) -> Drop | None:
        if not (self.training and self.config.smoothed):
            return None
        return drop(batch.key, Stream.GENERATOR)._replace(rate=self.config.dropout(progress))


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.stack([part.sum(), whole.sum()]).float()
