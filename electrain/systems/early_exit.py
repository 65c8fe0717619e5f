"""Early-Exit (Disc): the encoder itself is left early while it is pre-trained (Kang et al., 2021, section 2)."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.batch import Batch
from electrain.corruptors.early_exit import check_exits
from electrain.corruptors.joint import Joint
from electrain.cost import Shape, Work
from electrain.distributed import total
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import Metrics, value
from electrain.objectives.base import Scored
from electrain.objectives.rtd import Rtd
from electrain.randomness import Stream, drop
from electrain.systems.base import Output, Pretraining, Split
from electrain.vocab import Vocab


@final
class SectionExit(nn.Module):
    """The section after which the whole batch leaves, from the accuracies that the sections had when last measured.

    accuracies  (n, 2)  right and counted tokens of each section in the measuring steps of this window
    """

    accuracies: Tensor

    def __init__(self, sections: int, every: int, measured: int):
        super().__init__()
        self.every, self.measured, self.last = every, measured, sections - 1
        self.register_buffer("accuracies", torch.zeros(sections, 2))
        self.now = self.last
        self._decided: int | None = None

    def before(self, step: int) -> None:
        """In a measuring step the last section; else the one decided on, read from the device once a window."""
        if step % self.every < self.measured:
            self.now = self.last
            return
        if self._decided is None:
            self._decided = first_above_mean((self.accuracies[:, 0] / self.accuracies[:, 1].clamp(min=1)).tolist())
        self.now = self._decided

    def after(self, step: int, accuracies: list[Tensor]) -> None:
        """Count the sections' accuracies, (right, counted) each, if this was a measuring step."""
        at = step % self.every
        if at >= self.measured:
            return
        # Summed at once: the buffer is the same on every process, and in a checkpoint made between measuring steps.
        new = total(torch.stack(accuracies))
        self.accuracies.copy_(new if at == 0 else self.accuracies + new)
        self._decided = None


def first_above_mean(accuracies: list[float]) -> int:
    """The first section whose accuracy exceeds the mean of all, the threshold; the last where all are equal."""
    # Compared as sums: of equal accuracies none may exceed the others' mean by a rounding.
    total = math.fsum(accuracies)
    above = (section for section, accuracy in enumerate(accuracies) if accuracy * len(accuracies) > total)
    return next(above, len(accuracies) - 1)


@final
class EarlyExit(Pretraining):
    """ELECTRA with a replaced-token head after each section; the batch leaves at the first one that is good enough.

    The paper's (section 2): the sections; the threshold, which is the mean of their accuracies; both taken every 100
    steps; generator and discriminator are one network, as late layers would else be trained too little. They still are.

    Ours, as the paper does not say: the exit is one for the whole batch, so that the layers after it are not run at
    all. In the first steps of each window nobody leaves and all accuracies are measured; they decide for the rest of
    the window. Every section that is run is trained, all weighing the same, so that each head is always fit to judge.
    In evaluation nobody leaves, and `rtd_...` are the last section's, as the encoder is used whole later on.

    `encoder_saved` is the share of the encoder's operations that was not run.
    """

    @dataclass(frozen=True)
    class Config(Pretraining.Config):
        """The paper's sections of a 12-layer encoder."""

        encoder: Encoder.Config
        """The encoder that is being pre-trained."""
        corruptor: Joint.Config = field(default_factory=lambda: Joint.Config(width=1.0, tying="all"))
        """The generator; as published it is the encoder itself, all its layers, with a head of its own."""
        exits: tuple[int, ...] = (3, 6, 9, 12)
        """The last layer of each section; the last of them is the encoder's."""
        every: int = 100
        """Steps between updates of the threshold."""
        measured: int = 4
        """Of them, steps in which nobody leaves and the sections' accuracies are measured (ours)."""
        weight: float = 50.0
        """Weight of the replaced-token loss (lambda, as in ELECTRA; the paper does not give it)."""

        def __post_init__(self) -> None:
            check_exits(self.exits)
            if not 1 <= self.measured <= self.every:
                raise UserError(f"early exit: measured is {self.measured}; choose from 1 to every ({self.every})")

        def build(self, vocab: Vocab) -> "EarlyExit":
            return EarlyExit(self, vocab)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(vocab)
        if config.exits[-1] != self.encoder.height:
            raise UserError(f"early exit: the last exit of {config.exits} must be the encoder's {self.encoder.height}")
        self.corruptor = config.corruptor.build(vocab, self.encoder)
        self.sections = nn.ModuleList(Rtd.Config().build(vocab, self.encoder) for _ in config.exits)
        self.choice = SectionExit(len(config.exits), config.every, config.measured)

    @property
    def objective(self) -> Rtd:
        """The last section's: the head of the whole encoder, which is what is exported."""
        return cast(Rtd, self.sections[-1])

    def before(self, step: int, seed: int) -> None:
        self.choice.before(step)

    def variant(self) -> Hashable:
        return f"exit after layer {self.config.exits[self.choice.now]}"

    def after(self, step: int, metrics: Metrics) -> None:
        self.choice.after(step, [metrics[f"section_accuracy_{layer}"] for layer in self.config.exits])

    def split(self) -> Split:
        return Split(self.encoder.embeddings, self.encoder, self.sections, self.corruptor)

    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        """Expected where all sections are as likely to be left at, the measuring steps counted whole (ours)."""
        exits, shape = self.config.exits, Shape(length, self.corruptor.selected(length), vocab_size)
        whole = self.config.measured / self.config.every
        depth = whole * exits[-1] + (1 - whole) * sum(exits) / len(exits)
        heads = whole * len(exits) + (1 - whole) * (len(exits) + 1) / 2
        return (
            *self.corruptor.cost(shape, self.encoder),
            *self.encoder.cost(shape, depth=depth),
            *(
                Work(work.part, heads * work.plain, heads * work.paper, work.trained)
                for work in self.objective.cost(shape, self.encoder)
            ),
        )

    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        exits = self.config.exits
        exit = self.choice.now if self.training else len(exits) - 1
        seen = self.corruptor(batch, self.encoder, progress)
        source = drop(batch.key, Stream.DISCRIMINATOR) if self.training else None
        x = self.encoder.embed(seen.ids, batch.segments, drop=source)
        scored: list[Scored] = []
        for first, last, section in zip((0, *exits), exits[: exit + 1], self.sections, strict=False):
            x = self.encoder.through(x, batch.real, first, last, segments=batch.segments, drop=source)
            scored.append(section(self.encoder.close(x), seen, batch, self.encoder))
        loss = seen.loss + self.config.weight * torch.stack([part.loss for part in scored]).mean()
        one = torch.ones((), device=batch.ids.device)
        metrics = {
            "loss": value(loss),
            **seen.metrics,
            **scored[-1].metrics,
            "encoder_layers": value(one * exits[exit]),
            "encoder_saved": value(one * (1 - exits[exit] / exits[-1])),
        }
        nothing = torch.zeros(2, device=batch.ids.device)
        measured = [part.metrics["rtd_accuracy"] for part in scored] + [nothing] * (len(exits) - len(scored))
        metrics |= {f"section_accuracy_{layer}": found for layer, found in zip(exits, measured, strict=True)}
        return Output(loss, metrics)
