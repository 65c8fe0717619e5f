"""Model-free corruption: replacements drawn without reading the text, by how often tokens occur.

The unigram generator is the one that the ELECTRA paper compares with (Clark et al., 2020, section 3.2 and figure 3);
tempering it, p ~ frequency ** (1 / T), is a model-free curriculum in the sense of Fast-ELECTRA (Dong et al., 2024); the
form is ours.
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from electrain.batch import Batch, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.mask import check_shares
from electrain.cost import Shape, Work
from electrain.curriculum import ONE, Schedule
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import mean, value
from electrain.randomness import Stream, uniform
from electrain.source import Source
from electrain.vocab import Vocab


@final
class Unigram(Corruptor):
    """Puts at the selected places tokens drawn from one distribution over the vocabulary, the same at every place."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """Nothing is learnt, and nothing is read but the tokens' frequencies in the training data."""

        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        law: Literal["unigram", "uniform"] = "unigram"
        """By frequency to the power of 1 / temperature, or every token of the vocabulary alike; specials never."""
        temperature: Schedule = ONE
        """Of the unigram law: 1 for the frequencies themselves; the higher, the flatter over the tokens that occur."""

        def __post_init__(self) -> None:
            check_shares(self.rate, 0.0, 0.0)
            if min(self.temperature.values) <= 0:
                raise UserError(f"corruptor: temperature reaches {min(self.temperature.values)}; keep it above 0")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Unigram":
            return Unigram(self, vocab)

    share: Tensor

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config = config
        flat = torch.ones(vocab.size)
        flat[[*vocab.special, vocab.mask]] = 0.0
        # (v,) of each token, the largest 1. Until `start`, and for good under the uniform law, every token alike.
        self.register_buffer("share", flat)

    def start(self, source: Source, encoder: Encoder) -> str:
        if self.config.law == "uniform":
            return ""
        counts = source.frequencies().to(self.share.device, torch.float64)
        if counts.shape != self.share.shape:
            raise UserError(
                f"corruptor: frequencies of {len(counts)} tokens for a vocabulary of {len(self.share)}; "
                "run electrain prepare again"
            )
        counts = torch.where(self.share > 0, counts, 0.0)
        if not counts.any():
            raise UserError("corruptor: the training data holds no token that could be drawn; prepare more text")
        self.share.copy_(counts / counts.max())
        return f"unigram generator over {int((counts > 0).sum()):,} tokens that occur"

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        return ()

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        temperature = self.config.temperature(progress)
        sampled = self.draw(temperature, uniform(batch.key, Stream.SAMPLE, picked.index))
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        right = sampled == batch.ids.gather(1, picked.index)
        metrics = {"replaced": mean(replaced, batch.real), "sampled_right": mean(right, picked.valid)}
        if self.config.law == "unigram":
            metrics["temperature"] = value(temperature)
        log_proposal = self.log_law(temperature)[ids]
        return Corrupted(ids, picked, replaced, None, torch.zeros((), device=ids.device), metrics, log_proposal)

    def draw(self, temperature: Float[Tensor, ""], u: Float[Tensor, "b k"]) -> Int[Tensor, "b k"]:
        """Tokens exactly from the tempered law, by inverting its cumulative distribution in float64 at u in [0, 1)."""
        weight = self._weight(temperature)
        heap = weight.cumsum(0)
        drawn = torch.searchsorted(heap, u * heap[-1], right=True)
        # Where u * heap rounds up to the whole, the search runs past the end: the last token of any weight stands in.
        number = torch.arange(len(weight), device=weight.device)
        return drawn.minimum(torch.where(weight > 0, number, 0).amax())

    def log_law(self, temperature: Float[Tensor, ""]) -> Float[Tensor, " v"]:
        """Log-probability of every token under the tempered law, -inf for what is never drawn."""
        weight = self._weight(temperature)
        return (weight.log() - weight.sum().log()).float()

    def _weight(self, temperature: Float[Tensor, ""]) -> Float[Tensor, " v"]:
        weight = self.share.double()
        return weight ** (1 / temperature.double()) if self.config.law == "unigram" else weight
