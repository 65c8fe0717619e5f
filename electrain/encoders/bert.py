"""The post-LN encoder of BERT and ELECTRA, weight-compatible with transformers' ElectraModel and BertModel."""

import math
from dataclasses import dataclass
from typing import Literal, cast, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.cost import Shape, Work, embeddings, layers
from electrain.encoders.attention import Attention, bias
from electrain.encoders.base import Encoder, fresh, scaled
from electrain.encoders.positions import POSITION, look_near, pass_positions, sinusoids
from electrain.errors import UserError
from electrain.randomness import Drop, dropout
from electrain.vocab import Vocab


@final
class Embeddings(nn.Module):
    """Token, position and segment tables and their LayerNorm: what generator and discriminator share.

    ELECTRA, section 3.2: both the token and the positional embeddings are shared; the official code shares the segment
    table and the LayerNorm with them.
    """

    def __init__(self, config: "Bert.Config", vocab: Vocab):
        super().__init__()
        self.tokens = nn.Embedding(vocab.size, config.embedding)
        self.positions = nn.Embedding(config.positions, config.embedding)
        self.segments = nn.Embedding(config.segments, config.embedding)
        self.norm = nn.LayerNorm(config.embedding, eps=config.norm_eps)

    def forward(
        self, ids: Int[Tensor, "b t"], segments: Int[Tensor, "b t"] | None, delta: Float[Tensor, "b t e"] | None
    ) -> Float[Tensor, "b t e"]:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(places)
        # Of rows of several documents, this encoder reads the place in a pair alone.
        x = x + (self.segments.weight[0] if segments is None else self.segments(segments % 2))
        return self.norm(x if delta is None else x + delta)


@final
class Layer(nn.Module):
    """Attention, then a feed-forward network; each with dropout, residual and LayerNorm after it (post-LN)."""

    def __init__(self, config: "Bert.Config"):
        super().__init__()
        self.dropout = config.dropout
        self.attention = Attention(config.hidden, config.heads, config.attention_dropout)
        self.attention_norm = nn.LayerNorm(config.hidden, eps=config.norm_eps)
        self.up = nn.Linear(config.hidden, config.ffn)
        self.down = nn.Linear(config.ffn, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, eps=config.norm_eps)

    def forward(
        self, x: Float[Tensor, "b t d"], padding: Float[Tensor, "b 1 1 t"], drop: Drop | None, site: int
    ) -> Float[Tensor, "b t d"]:
        y = self.attention(x, padding, drop, site)
        x = self.attention_norm(x + dropout(y, self.dropout, drop, site + 1))
        y = self.down(F.gelu(self.up(x)))
        return self.norm(x + dropout(y, self.dropout, drop, site + 2))


@final
class Bert(Encoder):
    """Post-LN Transformer encoder (Devlin et al., 2019; ELECTRA, appendix A)."""

    @dataclass(frozen=True)
    class Config(Encoder.Config):
        """Sizes of the encoder. The defaults are ELECTRA-Small's (ELECTRA, table 6)."""

        layers: int = 12
        """Transformer layers."""
        hidden: int = 256
        """Width of the layers."""
        ffn: int = 1024
        """Width of the feed-forward network."""
        heads: int = 4
        """Attention heads."""
        embedding: int = 128
        """Width of the embedding tables; projected to `hidden` where it differs."""
        positions: int = 512
        """Longest sequence."""
        segments: int = 2
        """Rows of the segment table."""
        dropout: float = 0.1
        """Dropout after the embeddings and after every sub-layer."""
        attention_dropout: float = 0.1
        """Dropout of attention probabilities."""
        norm_eps: float = 1e-12
        """Epsilon of every LayerNorm."""
        init: Literal["normal", "fan_in"] = "normal"
        """Start of matrices: normal with deviation `init_scale`, or with 1/sqrt(columns) (tables then `init_scale`)."""
        init_scale: float = 0.02
        """Standard deviation of the truncated normal (cut at two deviations) that weights start from."""
        position_start: Literal["normal", "sinusoid"] = "normal"
        """Start of the position table: as the other weights, or sinusoids of the same scale (Vaswani et al., 3.5)."""
        attention_start: Literal["normal", "local"] = "normal"
        """Start of queries and keys: as the other weights, or every head looking at a neighbour of its own, the first
        layer's at -1, +1, -2, +2 and so on (ours; needs sinusoids)."""

        def __post_init__(self) -> None:
            for name in ("layers", "hidden", "ffn", "heads", "embedding", "positions", "segments"):
                if getattr(self, name) < 1:
                    raise UserError(f"encoder: {name} is {getattr(self, name)}; choose 1 or more")
            for name in ("dropout", "attention_dropout"):
                if not 0 <= getattr(self, name) < 1:
                    raise UserError(f"encoder: {name} is {getattr(self, name)}; it is a share, from 0 to below 1")
            if self.hidden % self.heads:
                raise UserError(f"encoder: hidden {self.hidden} is not a multiple of heads {self.heads}; change one")
            if self.attention_start == "local" and self.position_start != "sinusoid":
                raise UserError("encoder: attention_start local needs position_start sinusoid")
            if self.attention_start == "local" and min(self.embedding, self.hidden) <= POSITION:
                raise UserError(f"encoder: attention_start local needs embedding and hidden above {POSITION}")

        def build(self, vocab: Vocab, share: nn.Module | None = None) -> "Bert":
            return Bert(self, vocab, share)

        def check(self, length: int) -> None:
            if length > self.positions:
                raise UserError(
                    f"run: length is {length}, but the encoder has {self.positions} positions; choose a shorter "
                    "length, or more positions (--system.encoder.positions)"
                )

        def scaled(self, width: float, depth: float) -> "Bert.Config":
            """Heads keep their size, but for a generator narrower than one."""
            return scaled(self, width, depth)

    config: Config

    def __init__(self, config: Config, vocab: Vocab, share: nn.Module | None = None):
        super().__init__()
        self.config = config
        self.width = config.hidden
        self.height = config.layers
        self.norm_eps = config.norm_eps
        self.embeddings = share if share is not None else Embeddings(config, vocab)
        self.project = nn.Linear(config.embedding, config.hidden) if config.embedding != config.hidden else None
        layers = [Layer(config) for _ in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.layers.apply(self.start)
        if self.project is not None:
            self.start(self.project)
        if share is None:
            self.embeddings.apply(self.start)
            if config.position_start == "sinusoid":
                table = sinusoids(config.positions, config.embedding)
                cast(Embeddings, self.embeddings).positions.weight.data.copy_(
                    table * config.init_scale * math.sqrt(2.0)
                )
        if config.attention_start == "local":
            projections = [layer.attention.qkv.weight for layer in layers]
            look_near(projections, config.embedding, config.hidden, config.heads)
            if self.project is not None:
                pass_positions(self.project)
            if share is None:
                # Or a head would find every token most like itself, at distance 0, whatever its own distance.
                self.tokens.weight.data[:, :POSITION] = 0.0

    @property
    def tokens(self) -> nn.Embedding:  # pyright: ignore[reportIncompatibleVariableOverride]
        return cast(Embeddings, self.embeddings).tokens

    def start(self, module: nn.Module) -> None:
        """Fresh weights: truncated normal matrices and tables, zero biases (BERT's official code)."""
        fresh(module, self.config.init, self.config.init_scale)

    def cost(
        self, shape: Shape, part: str = "encoder", *, trained: bool = True, depth: int | float | None = None
    ) -> tuple[Work, ...]:
        c = self.config
        count = c.layers if depth is None else depth
        return (
            embeddings(shape, embedding=c.embedding, hidden=c.hidden, segments=c.segments, part=part, trained=trained),
            *layers(shape, count=count, hidden=c.hidden, ffn=c.ffn, heads=c.heads, part=part, trained=trained),
        )

    def embed(
        self,
        ids: Int[Tensor, "b t"],
        segments: Int[Tensor, "b t"] | None = None,
        *,
        drop: Drop | None = None,
        delta: Float[Tensor, "b t e"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        if ids.shape[1] > self.config.positions:
            raise UserError(f"sequence of {ids.shape[1]} tokens: the encoder has {self.config.positions} positions")
        x = dropout(self.embeddings(ids, segments, delta), self.config.dropout, drop, 0)
        return x if self.project is None else self.project(x)

    def through(
        self,
        x: Float[Tensor, "b t d"],
        real: Bool[Tensor, "b t"],
        first: int,
        last: int,
        *,
        segments: Int[Tensor, "b t"] | None = None,
        drop: Drop | None = None,
    ) -> Float[Tensor, "b t d"]:
        padding = bias(real)
        for number, layer in enumerate(self.layers[first:last], start=first):
            x = layer(x, padding, drop, 3 * number + 1)
        return x
