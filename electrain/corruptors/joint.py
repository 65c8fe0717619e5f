"""ELECTRA's corruption: a generator trained jointly by masked language modelling (Clark et al., 2020, section 2)."""

from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, scatter, select, slots
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.disentangled import disentangle
from electrain.corruptors.generator import Generator, Right
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.corruptors.tail import tail_of
from electrain.cost import Shape, Work, mlm_head
from electrain.curriculum import Schedule
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import mean
from electrain.source import Source
from electrain.vocab import Vocab

AS_IT_IS = Schedule()
"""Temperature 1, for good."""


@final
class Joint(Corruptor):
    """Masks places, trains a generator on them, and puts its samples there."""

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """ELECTRA-Small's generator: a quarter of the width, embeddings shared (ELECTRA, section 3.2, table 6)."""

        rate: float = 0.15
        """Share of the non-special tokens that is selected (25 % for Large)."""
        width: float = 0.25
        """Width of the generator's layers and its heads, as a share of the discriminator's."""
        depth: float = 1.0
        """Number of the generator's layers, as a share of the discriminator's."""
        tying: Literal["none", "embeddings", "all", "disentangled"] = "embeddings"
        """What generator and discriminator share. "all" needs width 1 and depth 1; with "disentangled" the
        discriminator's token table is the generator's, without its gradient, plus a table of its own (DeBERTaV3)."""
        masked: float = 0.85
        """Share of the selected places that the generator reads as [MASK]; the rest stay (official code)."""
        random: float = 0.0
        """Share of the selected places that the generator reads as a random token."""
        replacement: bool = False
        """Draw places with replacement, as the official code; repeated draws are dropped."""
        temperature: Schedule = AS_IT_IS
        """Of the softmax that replacements are sampled from; the generator's loss does not see it."""
        right: Right = "allowed"
        """Whether the text's own token may be sampled; "never" takes it away before the draw."""
        kept: int = 0
        """Likeliest tokens that are sampled as the generator has them, the rest of its mass going by how often the data
        has a token; 0, and where they would be over half of the vocabulary: all as it has them. Its loss does not see
        it."""

        def __post_init__(self) -> None:
            check_shares(self.rate, self.masked, self.random)
            if self.tying == "all" and (self.width, self.depth) != (1.0, 1.0):
                raise UserError("corruptor: tying 'all' needs a generator of the same size: set width 1 and depth 1")
            if min(self.temperature.values) <= 0:
                raise UserError(f"corruptor: temperature reaches {min(self.temperature.values)}; keep it above 0")
            if self.kept and self.right == "never":
                raise UserError("corruptor: right 'never' and kept cannot go together; leave one of them out")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Joint":
            return Joint(self, vocab, encoder)

    def __init__(self, config: Config, vocab: Vocab, encoder: Encoder):
        super().__init__()
        self.config = config
        self.vocab = vocab
        self.temperature = config.temperature if config.temperature.values != (1.0,) else None
        own = None
        if config.tying != "all":
            share = encoder.embeddings if config.tying == "embeddings" else None
            own = encoder.config.scaled(config.width, config.depth).build(vocab, share)
        if own is not None and config.tying == "disentangled":
            disentangle(encoder.tokens, own.tokens)
        self.generator = Generator(own, encoder)
        self.tail = tail_of(config.kept, vocab)

    def start(self, source: Source, encoder: Encoder) -> str:
        return "" if self.tail is None else f"joint generator; {self.tail.start(source)}"

    def selected(self, length: int) -> int:
        return slots(self.config.rate, length)

    def cost(self, shape: Shape, encoder: Encoder) -> tuple[Work, ...]:
        own = encoder if self.generator.encoder is None else self.generator.encoder
        head = mlm_head(shape, embedding=own.tokens.embedding_dim, hidden=own.width, part="generator")
        return own.cost(shape, "generator") + head

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        picked = select(batch, self.config.rate, replacement=self.config.replacement)
        masked = mask(batch, picked, self.vocab, masked=self.config.masked, random=self.config.random)
        proposal = self.generator(
            masked,
            batch,
            picked,
            encoder,
            dropout=self.training,
            temperature=self.temperature(progress) if self.temperature is not None else None,
            right=self.config.right,
            tail=self.tail() if self.tail is not None else None,
        )
        # The discriminator reads the sampled text, never the masked one.
        ids = scatter(batch.ids, picked, proposal.sampled)
        replaced = ids != batch.ids
        metrics = {**proposal.metrics, "replaced": mean(replaced, batch.real)}
        return Corrupted(ids, picked, replaced, None, proposal.loss, metrics)
