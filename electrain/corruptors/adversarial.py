"""A generator that is rewarded where the discriminator errs, by REINFORCE (Clark et al., 2020, appendix F)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch, gather, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor, Feedback
from electrain.corruptors.generator import Generator, propose
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.cost import Shape, Work, mlm_head
from electrain.encoders.base import Encoder
from electrain.metrics import average, mean
from electrain.randomness import Stream, drop
from electrain.vocab import Vocab


@final
class Adversarial(Corruptor):
    """Masks places and puts a generator's samples there; the generator learns from the discriminator's loss on each.

    A sample is its own action: its reward R is the discriminator's loss at its place, as if that did not depend on the
    other samples of the row. The generator's gradient is the mean over the places of grad log p(sample) (R - b).

    The published digest gives R, the gradient and b = -log sigmoid(w h). Ours: b is learnt by the cross-entropy of
    sigmoid(w h) with exp(-R), what the discriminator gave to the truth, so that it settles at -log E[exp(-R)]; that
    loss reaches w alone; the generator starts fresh and has no masked-LM loss beside the reward.
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """The generator's sizes, as for one that is trained jointly."""

        rate: float = 0.15
        """Share of the non-special tokens that is selected."""
        width: float = 0.25
        """Width of the generator's layers and its heads, as a share of the discriminator's."""
        depth: float = 1.0
        """Number of the generator's layers, as a share of the discriminator's."""
        tying: Literal["none", "embeddings"] = "embeddings"
        """What generator and discriminator share: the embeddings learn from both, all else from its own loss alone."""
        masked: float = 0.85
        """Share of the selected places that the generator reads as [MASK]; the rest stay (official code)."""
        random: float = 0.0
        """Share of the selected places that the generator reads as a random token."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, self.random)

        def build(self, vocab: Vocab, encoder: Encoder) -> "Adversarial":
            return Adversarial(self, vocab, encoder)

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config = config
        self.vocab = vocab
        share = encoder.embeddings if config.tying == "embeddings" else None
        self.reader = encoder.config.scaled(config.width, config.depth).build(vocab, share)
        self.generator = Generator(self.reader, encoder)
        self.baseline = nn.Linear(self.reader.width, 1, bias=False)
        nn.init.zeros_(self.baseline.weight)

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        own = self.reader
        head = mlm_head(shape, embedding=own.tokens.embedding_dim, hidden=own.width, part="generator")
        return own.cost(shape, "generator") + head

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate)
        masked = mask(batch, picked, self.vocab, masked=self.config.masked, random=self.config.random)
        source = drop(batch.key, Stream.GENERATOR) if self.training else None
        hidden = gather(self.reader(masked, batch.real, batch.segments, drop=source), picked.index)
        logits = self.generator.head(hidden, self.reader.tokens.weight)
        proposal = propose(logits.detach(), batch, picked)
        sampled = proposal.sampled
        log_p = -F.cross_entropy(logits.flatten(0, 1).float(), sampled.flatten(), reduction="none").view(sampled.shape)
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        metrics = {**proposal.metrics, "replaced": mean(replaced, batch.real)}
        foreseen = self.baseline(hidden.detach()).squeeze(2).float()
        loss = torch.zeros((), device=ids.device)
        return Corrupted(ids, picked, replaced, None, loss, metrics, memory=(log_p, foreseen))

    def feedback(self, seen: Corrupted, logits: Float[Tensor, "b t"], batch: Batch) -> Feedback:
        log_p, foreseen = seen.memory
        index, valid = seen.picked
        verdict, replaced = logits.detach().float().gather(1, index), seen.replaced.gather(1, index)
        reward = F.binary_cross_entropy_with_logits(verdict, replaced.float(), reduction="none")
        baseline = -F.logsigmoid(foreseen.detach())
        gain = -log_p * (reward - baseline)
        fit = F.binary_cross_entropy_with_logits(foreseen, (-reward).exp(), reduction="none")
        loss = average(gain + fit, valid)
        return Feedback(loss, {"reward": mean(reward, valid), "baseline": mean(baseline, valid)})
