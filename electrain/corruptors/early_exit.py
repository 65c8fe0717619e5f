"""Adaptive Early-Exit (Gen): a generator that is left early, by the discriminator's accuracy (Kang et al., 2021)."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from electrain.batch import Batch, Selection, gather, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.exit_rule import ExitChoice, ExitRule
from electrain.corruptors.generator import Proposal, propose
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead
from electrain.errors import UserError
from electrain.metrics import Metrics, mean, value
from electrain.randomness import Stream, drop
from electrain.vocab import Vocab


def check_exits(exits: tuple[int, ...]) -> None:
    """Numbers of layers, each larger than the one before it. UserError if they are not."""
    if not exits or exits[0] < 1 or list(exits) != sorted(set(exits)):
        raise UserError(f"early exit: exits are {exits}; name layers from 1 on, each larger than the one before")


@final
class ExitGenerator(nn.Module):
    """A masked LM in sections, with a head after each; all heads read the one token table.

    Monotonicity (section 2): from the third on, a section reads a projection of the concatenated outputs of all
    sections below it. It starts as the identity on the newest (ours; the paper gives no form).
    """

    def __init__(self, encoder: Encoder, exits: tuple[int, ...]):
        super().__init__()
        self.encoder = encoder
        self.exits = exits
        self.heads = nn.ModuleList(MlmHead(encoder) for _ in exits)
        self.joins = nn.ModuleList(nn.Linear(below * encoder.width, encoder.width) for below in range(2, len(exits)))
        for join in self.joins.children():
            with torch.no_grad():
                for parameter in join.parameters():
                    parameter.zero_()
                join.weight[:, -encoder.width :].copy_(torch.eye(encoder.width))  # pyright: ignore

    def forward(
        self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection, exit: int, *, dropout: bool
    ) -> Proposal:
        """Read the masked `ids` through sections 0 .. exit, score and sample at the picked places."""
        source = drop(batch.key, Stream.GENERATOR) if dropout else None
        x = self.encoder.embed(ids, batch.segments, drop=source)
        outputs: list[Tensor] = []
        for section, last in enumerate(self.exits[: exit + 1]):
            if section > 1:
                x = self.joins[section - 2](torch.cat(outputs, dim=-1))
            first = self.exits[section - 1] if section else 0
            x = self.encoder.through(x, batch.real, first, last, segments=batch.segments, drop=source)
            outputs.append(x)
        hidden = gather(self.encoder.close(x), picked.index)
        return propose(self.heads[exit](hidden, self.encoder.tokens.weight), batch, picked)

    def cost(self, shape: Shape, probabilities: tuple[float, ...]) -> tuple[Work, ...]:
        """Of one row, expected over the exits."""
        own, width = self.encoder, self.encoder.width
        depth = sum(p * layers for p, layers in zip(probabilities, self.exits, strict=True))
        joined = sum(
            sum(probabilities[section:]) * shape.length * 2 * section * width * width
            for section in range(2, len(self.exits))
        )
        return (
            *own.cost(shape, "generator", depth=depth),
            Work("generator: joins of sections", joined, joined),
            *mlm_head(shape, embedding=own.tokens.embedding_dim, hidden=width, part="generator"),
        )


@final
class EarlyExit(Corruptor):
    """Masks places, reads them with the generator down to one exit a step, and puts that exit's samples there.

    The exit is drawn for the whole batch, so that the layers after it are not run. An upper exit's loss weighs more
    (section 2): as 1, 2, 3, ... with mean 1 (ours; the paper gives no weights). In evaluation the last exit is taken,
    or held-out figures could not be compared (ours).
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """ELECTRA-Small's generator with the exits of the paper; the embeddings are shared (ELECTRA, section 3.2)."""

        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        width: float = 0.25
        """Width of the generator's layers and its heads, as a share of the discriminator's."""
        exits: tuple[int, ...] = (3, 6, 9, 12)
        """Layers after which it can be left; the last is its depth."""
        masked: float = 0.85
        """Share of the selected places that the generator reads as [MASK]; the rest stay (section 3)."""
        rule: ExitRule = field(default_factory=ExitRule)
        """How the exits' probabilities move."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, 0.0)
            check_exits(self.exits)
            if len(self.rule.start) != len(self.exits):
                raise UserError(f"early exit: {len(self.exits)} exits, but {len(self.rule.start)} probabilities")

        def build(self, vocab: Vocab, encoder: Encoder) -> "EarlyExit":
            return EarlyExit(self, vocab, encoder)

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config = config
        self.vocab = vocab
        sizes = encoder.config.scaled(config.width, config.exits[-1] / encoder.height)
        self.generator = ExitGenerator(sizes.build(vocab, encoder.embeddings), config.exits)
        self.choice = ExitChoice(config.rule)

    def before(self, step: int, seed: int) -> None:
        self.choice.before(step, seed)

    def variant(self) -> Hashable:
        return f"exit after layer {self.config.exits[self.choice.now]}"

    def after(self, step: int, metrics: Metrics) -> None:
        self.choice.after(step, metrics)

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        """Expected over the probabilities that a run begins with."""
        return self.generator.cost(shape, self.config.rule.start)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        exits = self.config.exits
        exit = self.choice.now if self.training else len(exits) - 1
        picked = select(batch, self.config.rate)
        masked = mask(batch, picked, self.vocab, masked=self.config.masked, random=0.0)
        proposal = self.generator(masked, batch, picked, exit, dropout=self.training)
        ids = scatter(batch.ids, picked, proposal.sampled)
        replaced = ids != batch.ids
        one = torch.ones((), device=ids.device)
        metrics = {
            **proposal.metrics,
            "replaced": mean(replaced, batch.real),
            "generator_layers": value(one * exits[exit]),
        }
        for layer, probability in zip(exits, self.choice.probabilities.unbind(), strict=True):
            metrics[f"exit_{layer}"] = value(probability)
        weight = (exit + 1) / ((len(exits) + 1) / 2)
        return Corrupted(ids, picked, replaced, None, weight * proposal.loss, metrics)
