"""AMOS's corruption: one generator with several exits, mixed against the discriminator (Meng et al., ICLR 2022)."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, Selection, gather, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.generator import Generator
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import masked_lm
from electrain.errors import UserError
from electrain.metrics import Metrics, mean
from electrain.randomness import Drop, Stream, drop, fractions
from electrain.vocab import Vocab


class Exits(NamedTuple):
    """What the generator says at its exits, of the picked places.

    logits  one (b, k, v) an exit
    scores  (b, k, n), whose softmax over the exits weighs them
    """

    logits: list[Tensor]
    scores: Float[Tensor, "b k n"]


@final
class Amos(Corruptor):
    """Samples from a mixture of masked LMs of several depths, whose weights learn to mislead the discriminator.

    Exit i reads h_i, the generator's layer `exits[i]`, with the one head that all share, z_i = head(h_i), and is scored
    by the one vector v. A place's sample is the largest of sum_i a_i z_i + Gumbel noise, a = softmax_i(v . h_i).

    The masked-LM losses of the exits are summed; each trains its own section of layers, for the stack is cut between
    them, and only the first reaches the embedding layer below. (All reach the head and the token table in it.) The
    discriminator's gradient reaches a alone, not z: through softmax((sum_i a_i z_i + noise) / temperature) times the
    token table in place of the sample's row (straight-through), with its sign turned; and through a, as in the official
    code, v and the sections.

    As the paper and its official code: the above, full width, exits 4, 6, 8, temperature 0.3, turned by -1, no dropout
    in the generator. Ours: v starts at 0 (equal weights), 15 % of the selected places stay unmasked, position and
    segment tables are shared too (both as ELECTRA); the plain sum of the losses is from memory.
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """AMOS Base: eight layers of the discriminator's width with three exits (official code)."""

        exits: tuple[int, ...] = (4, 6, 8)
        """Layers of the generator that propose; the last is its height."""
        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        width: float = 1.0
        """Width of the generator's layers and its heads, as a share of the discriminator's."""
        masked: float = 0.85
        """Share of the selected places that the generator reads as [MASK]; the rest stay."""
        temperature: float = 0.3
        """Of the softmax that the discriminator's gradient passes; the sample itself is at 1."""
        reversal: float = 1.0
        """The discriminator's gradient is multiplied by minus this."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, 0.0)
            if not self.exits or list(self.exits) != sorted(set(self.exits)) or self.exits[0] < 1:
                raise UserError(f"corruptor: exits are {self.exits}; choose rising numbers of layers, from 1 on")
            if not 0 < self.temperature < math.inf:
                raise UserError(f"corruptor: temperature is {self.temperature}; choose a positive number")
            if not 0 <= self.reversal < math.inf:
                raise UserError(f"corruptor: reversal is {self.reversal}; choose 0 or more")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Amos":
            return Amos(self, vocab, encoder)

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config = config
        self.vocab = vocab
        own = encoder.config.scaled(config.width, config.exits[-1] / encoder.height).build(vocab, encoder.embeddings)
        self.generator = Generator(own, encoder)
        self.score = nn.Linear(own.width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    @property
    def own(self) -> Encoder:
        """The generator's stack."""
        assert self.generator.encoder is not None
        return self.generator.encoder

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        size = self.own.tokens.embedding_dim
        head = mlm_head(shape, embedding=size, hidden=self.own.width, part="generator")
        back = 2 * shape.selected * size * shape.vocab  # one product, in the backward pass alone
        path = Work("adversarial path", back, back, trained=False)
        return *self.own.cost(shape, "generator"), *head * len(self.config.exits), path

    def read(self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection) -> Exits:
        """The masked `ids` through the generator, out at every exit."""
        x = self.own.embed(ids, batch.segments)
        below, logits, scores = 0, [], []
        for height in self.config.exits:
            x = self.own.through(x, batch.real, below, height, segments=batch.segments)
            out = gather(self.own.close(x), picked.index)
            logits.append(self.generator.head(out, self.own.tokens.weight))
            scores.append(self.score(out))
            x, below = x.detach(), height
        return Exits(logits, torch.cat(scores, -1).float())

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        masked = mask(batch, picked, self.vocab, masked=self.config.masked, random=0.0)
        exits = self.read(masked, batch, picked)
        weights = exits.scores.softmax(-1)
        blend = mixed(exits.logits, weights)
        noisy = blend + gumbel(drop(batch.key, Stream.MIXTURE), tuple(blend.shape))
        sampled = noisy.argmax(-1)
        ids = scatter(batch.ids, picked, sampled)

        soft = (noisy / self.config.temperature).softmax(-1).to(exits.logits[0].dtype)
        path = against(soft, encoder.tokens.weight, self.config.reversal)
        path = torch.where(picked.valid[..., None], path, 0.0)
        delta = path.new_zeros(*batch.ids.shape, path.shape[-1])
        delta = delta.scatter_add(1, picked.index[..., None].expand_as(path), path)

        target = batch.ids.gather(1, picked.index)
        learnt = [masked_lm(logits, target, picked.valid) for logits in exits.logits]
        loss = torch.stack([exit_loss for exit_loss, _, _ in learnt]).sum()
        replaced = ids != batch.ids
        metrics = _metrics(blend, weights, sampled, target, picked.valid)
        metrics["replaced"] = mean(replaced, batch.real)
        for number, (height, (_, _, own)) in enumerate(zip(self.config.exits, learnt, strict=True)):
            weight = weights[..., number].detach() * picked.valid
            metrics[f"exit_{height}_weight"] = mean(weight, picked.valid)
            metrics[f"exit_{height}_replaced"] = mean(sampled != target, weight)  # every place by the exit's weight
            metrics[f"exit_{height}_mlm_loss"] = own["mlm_loss"]
        return Corrupted(ids, picked, replaced, delta, loss, metrics)


def mixed(logits: list[Tensor], weights: Float[Tensor, "b k n"]) -> Float[Tensor, "b k v"]:
    """sum_i a_i z_i; the gradient reaches the weights alone."""
    return torch.stack([weights[..., i, None] * z.detach() for i, z in enumerate(logits)]).sum(0)


def gumbel(source: Drop, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Standard Gumbel numbers of the given shape (its first axis is the batch), from -2.9 to 22.2."""
    # log1p: large numbers, which decide a maximum, come from fractions near 0, where those are finest.
    return -(-torch.log1p(-fractions(source, 0, shape).clamp(max=1 - 2**-24))).log()


def against(soft: Float[Tensor, "b k v"], table: Float[Tensor, "v e"], strength: float) -> Float[Tensor, "b k e"]:
    """Zeros whose gradient is that of `soft @ table` (the table held fixed) times -strength: what is added to the rows
    of the sampled tokens so that `soft` climbs where the rest descends (gradient reversal; Ganin and Lempitsky, 2015).
    """
    return _Against.apply(soft, table.detach(), strength)


class _Against(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, soft: Tensor, table: Tensor, strength: float) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(table)
        ctx.strength, ctx.dtype = strength, soft.dtype
        return table.new_zeros(*soft.shape[:-1], table.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (table,) = ctx.saved_tensors
        return F.linear(grad.to(ctx.dtype), table.to(ctx.dtype)) * -ctx.strength, None, None


@torch.no_grad()
def _metrics(blend: Tensor, weights: Tensor, sampled: Tensor, target: Tensor, valid: Tensor) -> Metrics:
    """Of the mixture that is sampled from, and of its weights."""
    _, nll, metrics = masked_lm(blend, target, valid)
    right, drawn = (blend.gather(2, token[..., None]).squeeze(2) for token in (target, sampled))
    metrics["generator_entropy"] = mean(nll + right - drawn, valid)
    metrics["mixture_entropy"] = mean(torch.special.entr(weights).sum(-1), valid)
    return metrics
