"""A pre-norm encoder with rotary positions, GeGLU and windows, weight-compatible with transformers' ModernBertModel."""

import math
from dataclasses import dataclass
from typing import Literal, cast, final

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.cost import Shape, Work, gated_layers, projection
from electrain.encoders.base import Encoder, fresh, scaled
from electrain.encoders.rotary import RotaryAttention, Sight, sight
from electrain.errors import UserError
from electrain.randomness import Drop, dropout
from electrain.vocab import Vocab


@final
class Embeddings(nn.Module):
    """Token table and its norm: what generator and discriminator share. Positions are in the attention."""

    def __init__(self, config: "Modern.Config", vocab: Vocab):
        super().__init__()
        self.tokens = nn.Embedding(vocab.size, config.embedding)
        self.norm = _norm(config, config.embedding)

    def forward(self, ids: Int[Tensor, "b t"], delta: Float[Tensor, "b t e"] | None) -> Float[Tensor, "b t e"]:
        x = self.tokens(ids)
        return self.norm(x if delta is None else x + delta)


@final
class Layer(nn.Module):
    """Norm, attention, residual; norm, gated feed-forward network (GeGLU; Shazeer, 2020), residual.

    first: reads what the embeddings have normed already, and does not norm it again
    """

    def __init__(self, config: "Modern.Config", first: bool):
        super().__init__()
        self.dropout = config.dropout
        self.attention_norm = nn.Identity() if first else _norm(config, config.hidden)
        self.attention = RotaryAttention(config.hidden, config.heads)
        self.norm = _norm(config, config.hidden)
        self.up = nn.Linear(config.hidden, 2 * config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, x: Float[Tensor, "b t d"], sight: Sight, drop: Drop | None, site: int) -> Float[Tensor, "b t d"]:
        y = self.attention(self.attention_norm(x), sight)
        x = x + dropout(y, self.dropout, drop, site)
        y, gate = self.up(self.norm(x)).chunk(2, -1)
        return x + dropout(self.down(F.gelu(y) * gate), self.dropout, drop, site + 1)


@final
class Modern(Encoder):
    """Pre-norm Transformer encoder (ModernBERT: Warner et al., 2024, section 2.1).

    It has no segment table: of `segments` it reads the documents that are packed into a row, if those are kept apart.
    """

    @dataclass(frozen=True)
    class Config(Encoder.Config):
        """Sizes of the encoder. The defaults are ModernBERT-base's (Warner et al., 2024, table 4)."""

        layers: int = 22
        """Transformer layers."""
        hidden: int = 768
        """Width of the layers."""
        ffn: int = 1152
        """Width of the feed-forward network behind the gate."""
        heads: int = 12
        """Attention heads."""
        embedding: int = 768
        """Width of the token table; projected to `hidden` where it differs."""
        positions: int = 8192
        """Longest sequence."""
        window: int = 64
        """Distance up to which a place is seen in local layers; 0 makes every layer global."""
        global_every: int = 3
        """Of so many layers the first sees the whole row, the others a window."""
        documents: Literal["together", "apart"] = "together"
        """Whether a place sees all of its row, or its own document alone, in rows into which documents are packed."""
        theta: float = 160_000.0
        """Base of the rotary angles in global layers."""
        local_theta: float = 10_000.0
        """Base of the rotary angles in local layers."""
        norm: Literal["layer", "rms"] = "layer"
        """LayerNorm without bias, or RMSNorm (Zhang and Sennrich, 2019)."""
        norm_eps: float = 1e-5
        """Epsilon of every norm."""
        dropout: float = 0.0
        """Dropout after the embeddings and after every sub-layer."""
        init: Literal["normal", "fan_in"] = "normal"
        """Start of matrices: normal with deviation `init_scale`, or with 1/sqrt(columns) (tables then `init_scale`)."""
        init_scale: float = 0.02
        """Deviation of the truncated normal (cut at two of them) that weights start from; what is added to the residual
        stream starts smaller by sqrt(2 layers)."""

        def __post_init__(self) -> None:
            for name in ("layers", "hidden", "ffn", "heads", "embedding", "positions", "global_every"):
                if getattr(self, name) < 1:
                    raise UserError(f"encoder: {name} is {getattr(self, name)}; choose 1 or more")
            if self.window < 0:
                raise UserError(f"encoder: window is {self.window}; choose 1 or more, or 0 for none")
            for name in ("theta", "local_theta"):
                if not 1 < getattr(self, name) < math.inf:
                    raise UserError(f"encoder: {name} is {getattr(self, name)}; choose a number above 1")
            if not 0 <= self.dropout < 1:
                raise UserError(f"encoder: dropout is {self.dropout}; it is a share, from 0 to below 1")
            if self.hidden % (2 * self.heads):
                raise UserError(
                    f"encoder: hidden {self.hidden} is not a multiple of twice the heads, {2 * self.heads} (rotary "
                    "positions turn pairs of columns); change one"
                )

        @property
        def apart(self) -> bool:
            return self.documents == "apart"

        def build(self, vocab: Vocab, share: nn.Module | None = None) -> "Modern":
            return Modern(self, vocab, share)

        def check(self, length: int) -> None:
            if length > self.positions:
                raise UserError(
                    f"run: length is {length}, but the encoder is for {self.positions} positions; choose a shorter "
                    "length, or more positions (--system.encoder.positions)"
                )

        def scaled(self, width: float, depth: float) -> "Modern.Config":
            """Heads keep their size, but for a generator narrower than one."""
            return scaled(self, width, depth)

        def local(self, number: int) -> bool:
            """Whether a layer sees a window."""
            return self.window > 0 and number % self.global_every != 0

    config: Config
    head_bias = False
    verdict_norm = True

    def __init__(self, config: Config, vocab: Vocab, share: nn.Module | None = None):
        super().__init__()
        self.config = config
        self.width = config.hidden
        self.height = config.layers
        self.norm_eps = config.norm_eps
        self.embeddings = share if share is not None else Embeddings(config, vocab)
        wide = config.embedding != config.hidden
        self.project = nn.Linear(config.embedding, config.hidden, bias=False) if wide else None
        layers = [Layer(config, first=number == 0) for number in range(config.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = _norm(config, config.hidden)
        self.layers.apply(self.start)
        for layer in layers:
            for added in (layer.attention.out, layer.down):
                added.weight.data.div_(math.sqrt(2 * config.layers))
        if self.project is not None:
            self.start(self.project)
        if share is None:
            self.embeddings.apply(self.start)

    @property
    def tokens(self) -> nn.Embedding:  # pyright: ignore[reportIncompatibleVariableOverride]
        return cast(Embeddings, self.embeddings).tokens

    def start(self, module: nn.Module) -> None:
        """Fresh weights: truncated normal matrices and tables, zero biases."""
        fresh(module, self.config.init, self.config.init_scale)

    def cost(
        self, shape: Shape, part: str = "encoder", *, trained: bool = True, depth: int | float | None = None
    ) -> tuple[Work, ...]:
        c = self.config
        count = c.layers if depth is None else depth
        share = sum(map(c.local, range(c.layers))) / c.layers
        return (
            projection(shape, embedding=c.embedding, hidden=c.hidden, part=part, trained=trained),
            *gated_layers(
                shape, count=count, hidden=c.hidden, ffn=c.ffn, heads=c.heads, window=c.window, local=share, part=part,
                trained=trained,
            ),
        )  # fmt: skip

    def embed(
        self,
        ids: Int[Tensor, "b t"],
        segments: Int[Tensor, "b t"] | None = None,
        *,
        drop: Drop | None = None,
        delta: Float[Tensor, "b t e"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        if ids.shape[1] > self.config.positions:
            raise UserError(f"sequence of {ids.shape[1]} tokens: the encoder is for {self.config.positions}")
        x = dropout(self.embeddings(ids, delta), self.config.dropout, drop, 0)
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
        c = self.config
        size = c.hidden // c.heads
        # segments: twice the document's number, and 1 more in the second of a pair
        apart = segments // 2 if segments is not None and c.apart else None
        chosen = range(self.height)[first:last]
        kinds = {
            local: sight(real, apart, size, c.local_theta if local else c.theta, c.window if local else 0)
            for local in {*map(c.local, chosen)}
        }
        for number in chosen:
            x = self.layers[number](x, kinds[c.local(number)], drop, 2 * number + 1)
        return x

    def close(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return self.norm(x)


def _norm(config: Modern.Config, width: int) -> nn.Module:
    if config.norm == "rms":
        return nn.RMSNorm(width, eps=config.norm_eps)
    return nn.LayerNorm(width, eps=config.norm_eps, bias=False)
