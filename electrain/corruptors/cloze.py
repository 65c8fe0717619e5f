"""Electric's noise from a cloze model: a masked LM that says how likely its proposals and the text are.

Clark et al., EMNLP 2020, 2012.08561, section 2.3. Their cloze model reads the text from both sides with two one-way
Transformers and so knows the probability of every token. A masked LM knows it at masked places only, and at those it
must be known of the text's own tokens too. So, ours: of the masked places a share gets noise, the others keep the text,
and the objective counts these places alone.
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from electrain.batch import Batch, Selection, chosen, gather, sample, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.generator import Generator
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.encoders.head import masked_lm
from electrain.errors import UserError
from electrain.metrics import mean
from electrain.randomness import Stream, bits, drop, uniform
from electrain.vocab import Vocab


@final
class Cloze(Corruptor):
    """Masks places, trains a masked LM on them, and puts its samples at some of them; `picked` are these."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """At the default, half of 30 % of the tokens is noise: the 15 % of the paper."""

        rate: float = 0.3
        """Share of the non-special tokens that the masked LM reads as [MASK]."""
        noise: float = 0.5
        """Share of them that gets its samples; the rest is shown as it was."""
        width: float = 0.25
        """Width of the masked LM's layers and its heads, as a share of the encoder's."""
        depth: float = 1.0
        """Number of its layers, as a share of the encoder's."""
        tying: Literal["none", "embeddings"] = "embeddings"
        """What the masked LM and the encoder share."""

        def __post_init__(self) -> None:
            check_shares(self.rate, 1.0, 0.0)
            if not 0 < self.noise < 1:
                raise UserError(f"corruptor: noise is {self.noise}; both noise and text are needed, between 0 and 1")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Cloze":
            return Cloze(self, vocab, encoder)

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config, self.vocab = config, vocab
        share = encoder.embeddings if config.tying == "embeddings" else None
        self.own = encoder.config.scaled(config.width, config.depth).build(vocab, share)
        self.generator = Generator(self.own, encoder)

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        head = mlm_head(shape, embedding=self.own.tokens.embedding_dim, hidden=self.own.width, part="generator")
        return self.own.cost(shape, "generator") + head

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        hidden_places = select(batch, self.config.rate)
        index, valid = hidden_places
        masked = mask(batch, hidden_places, self.vocab, masked=1.0, random=0.0)
        source = drop(batch.key, Stream.GENERATOR) if self.training else None
        hidden = self.own(masked, batch.real, batch.segments, drop=source)
        logits = self.generator.head(gather(hidden, index), self.own.tokens.weight)
        text = batch.ids.gather(1, index)
        loss, nll, metrics = masked_lm(logits, text, valid)
        picked = Selection(index, valid & self._noise(batch, hidden_places))
        with torch.no_grad():
            sampled = sample(logits, uniform(batch.key, Stream.SAMPLE, index))
            drawn, own = (logits.gather(2, token[..., None]).squeeze(2).float() for token in (sampled, text))
            log_q = torch.where(picked.valid, drawn - own - nll, -nll)
            known = chosen(hidden_places, batch.ids.shape[1])
            log_q = torch.zeros_like(known, dtype=torch.float).scatter_add(1, index, torch.where(valid, log_q, 0.0))
            metrics["generator_entropy"] = mean(nll + own - drawn, valid)
            metrics["sampled_right"] = mean(sampled == text, picked.valid)
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        metrics["replaced"] = mean(replaced, batch.real)
        return Corrupted(ids, picked, replaced, None, loss, metrics, torch.where(known, log_q, -torch.inf))

    def _noise(self, batch: Batch, places: Selection) -> Bool[Tensor, "b k"]:
        """Of the valid places round(noise * places), drawn uniformly: the objective counts on their number."""
        order = torch.where(places.valid, bits(batch.key, Stream.MIXTURE, places.index), 2**63 - 1)
        rank = order.argsort(1).argsort(1)
        count = places.valid.sum(1, keepdim=True)
        return rank < (count * self.config.noise + 0.5).floor()
