"""Emb-Gen's corruption: no generator, a near token of the embedding table instead (Kang et al., 2021, section 2)."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from electrain.batch import Batch, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.mask import check_shares
from electrain.distributed import whole
from electrain.encoders.base import Encoder
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.metrics import Metrics, average, mean
from electrain.randomness import Stream, uniform
from electrain.source import Source
from electrain.vocab import Vocab

CELLS = 2**24
"""Distances held at a time when neighbours are looked for, at most (64 MiB), unless a single row has more."""


@final
class Nearest(Corruptor):
    """Replaces every selected token by one of the nearest in the encoder's token table, and pulls the two together.

    Neighbours are by L2, the token itself and special tokens left out; so what is replaced is all that is selected.
    They are looked up in a buffer, (v, nearest) int64, found anew every `refresh` steps: 2 v^2 e operations each time.
    For v = 30,522, e = 128, every 100 steps of ELECTRA-Small that adds 0.2 %; `cost` leaves it out, for it does not
    grow with the rows.

    The loss ||e(x) - e(x^)||^2 has its gradient in both rows of the table. Nothing in it holds tokens apart: by itself
    it makes a token and its neighbours one point, and then none can say which of them was replaced. Only the
    objective's gradient works against that. `neighbour_l2_relative` shows it: the squared distance over that of two
    random rows.

    From a fresh table the task needs no context: what lies nearest to many rows is hardly what a text holds most, and a
    word is told by itself (8192 words of 128 numbers: total variation 0.87 between text and replacements).
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """The paper gives the rate and L2; how many neighbours, the draw, its refresh and the weight are ours."""

        source: str | None = None
        """A masked LM whose token table the encoder's starts from: a run of ours, a folder that transformers loads, or
        a Hub name; "" for the stage before. None: the encoder's own start."""
        rate: float = 0.15
        """Share of the non-special tokens that is replaced."""
        nearest: int = 10
        """Neighbours of a token, of which one is drawn uniformly."""
        refresh: int = 100
        """Steps between searches for neighbours."""
        pull: float = 1.0
        """Weight of the L2 loss."""

        def __post_init__(self) -> None:
            check_shares(self.rate, 0.0, 0.0)
            for name in ("nearest", "refresh"):
                if getattr(self, name) < 1:
                    raise UserError(f"corruptor: {name} is {getattr(self, name)}; choose 1 or more")
            if not 0 <= self.pull < math.inf:
                raise UserError(f"corruptor: pull is {self.pull}; choose 0 or more")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Nearest":
            return Nearest(self, vocab, encoder)

    neighbours: Tensor

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        if config.nearest > (most := vocab.size - len(set(vocab.special)) - 1):
            raise UserError(f"corruptor: nearest is {config.nearest}; a token of this vocabulary has {most} others")
        self.config = config
        self.vocab = vocab
        self.tokens = encoder.tokens
        self.register_buffer("neighbours", torch.zeros(vocab.size, config.nearest, dtype=torch.int64))

    def start(self, source: Source, encoder: Encoder) -> str:
        place = self.config.source
        if place is None:
            return ""
        network = source.masked_lm(place)
        ours = encoder.tokens.weight
        theirs = network.encoder.tokens.weight if isinstance(network, EncoderLm) else ours[:0]
        if theirs.shape != ours.shape:
            raise UserError(
                f"corruptor: the token table of {place or 'the first stage'} is {theirs.shape[1]} wide, the encoder's "
                f"{ours.shape[1]}; choose another --system.corruptor.source or --system.encoder.embedding"
            )
        with torch.no_grad():
            ours.copy_(theirs)
        return f"token table from {place or 'the first stage'}"

    def before(self, step: int, seed: int) -> None:
        if step % self.config.refresh == 0:
            self.neighbours.copy_(nearest(whole(self.tokens.weight), self.config.nearest, self.vocab.special))

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        old = batch.ids.gather(1, picked.index)
        draw = (uniform(batch.key, Stream.NEIGHBOUR, picked.index) * self.config.nearest).long()
        new = self.neighbours[old].gather(2, draw[..., None]).squeeze(2)
        ids = scatter(batch.ids, picked, new)
        distance = (encoder.tokens(old) - encoder.tokens(new)).float().square().sum(2)
        loss = self.config.pull * average(distance, picked.valid)
        replaced = ids != batch.ids
        metrics: Metrics = {"replaced": mean(replaced, batch.real), "neighbour_l2": mean(distance, picked.valid)}
        with torch.no_grad():
            # Two rows drawn at random are 2 Var apart, squared, on average.
            apart = 2 * encoder.tokens.weight.float().var(0, correction=0).sum()
            metrics["neighbour_l2_relative"] = metrics["neighbour_l2"] * torch.stack([torch.ones_like(apart), apart])
        return Corrupted(ids, picked, replaced, None, loss, metrics)


@torch.no_grad()
def nearest(table: Float[Tensor, "v e"], count: int, excluded: tuple[int, ...]) -> Int[Tensor, "v k"]:
    """The `count` rows nearest to each row by L2, nearest first, itself and `excluded` left out.

    Never more than `CELLS` distances at a time.
    """
    table = table.float()
    table = table - table.mean(0)  # or large common parts would drown the differences in rounding
    square = table.square().sum(1)
    square[list(excluded)] = math.inf
    found = []
    for rows in torch.arange(len(table), device=table.device).split(max(1, CELLS // len(table))):
        # Less the row's own square, which does not change its order.
        distance = torch.addmm(square, table[rows], table.T, alpha=-2)
        found.append(distance.scatter_(1, rows[:, None], math.inf).topk(count, largest=False).indices)
    return torch.cat(found)
