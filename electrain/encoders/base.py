"""What every encoder is: token ids in, one vector a place out."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from electrain.cost import Shape, Work
from electrain.errors import UserError
from electrain.randomness import Drop
from electrain.vocab import Vocab


class Encoder(nn.Module, ABC):
    """Text encoder: embeddings, then a stack of layers that can be left and entered at any height.

    `tokens` is its one token table, `width` its vectors' size, `height` its number of layers, `norm_eps` the epsilon of
    its LayerNorms.
    """

    @dataclass(frozen=True)
    class Config(ABC):
        """What a person chose of the encoder; saved in run.json."""

        @property
        def apart(self) -> bool:
            """Whether a place sees nothing but its own document, in rows of several."""
            return False

        @abstractmethod
        def build(self, vocab: Vocab, share: "nn.Module | None" = None) -> "Encoder":
            """The encoder with fresh weights; `share` is another encoder's `embeddings`, used instead of its own."""

        def check(self, length: int) -> None:  # noqa: B027 (most encoders have nothing to check)
            """UserError if rows of `length` tokens are too long for the encoder; unless it says so, none is."""

        @abstractmethod
        def scaled(self, width: float, depth: float) -> "Encoder.Config":
            """The same architecture with widths and heads multiplied by `width`, layers by `depth` (a generator).

            UserError if the sizes do not allow it.
            """

    config: Config
    embeddings: nn.Module
    layers: nn.ModuleList
    tokens: nn.Embedding
    width: int
    height: int
    norm_eps: float
    head_bias: bool = True
    """Whether the linear layers and LayerNorms of its heads have biases."""
    verdict_norm: bool = False
    """Whether the head that gives verdicts has a LayerNorm, as the masked-LM head has."""

    @abstractmethod
    def start(self, module: nn.Module) -> None:
        """Give a head's fresh module the encoder's own start of weights."""

    @abstractmethod
    def cost(
        self, shape: Shape, part: str = "encoder", *, trained: bool = True, depth: int | float | None = None
    ) -> tuple[Work, ...]:
        """What a forward pass over one row costs (see `cost.py`), under the name `part`.

        depth: layers that are run, or their mean over several depths; all of them by default
        """

    @abstractmethod
    def embed(
        self,
        ids: Int[Tensor, "b t"],
        segments: Int[Tensor, "b t"] | None = None,
        *,
        drop: Drop | None = None,
        delta: Float[Tensor, "b t e"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """What the first layer reads; arguments as in `forward`."""

    @abstractmethod
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
        """`x` through layers first .. last - 1, counted from 0; segments as in `forward`."""

    def close(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """What a head reads of the last layer that was run: as it is, unless the encoder norms its output."""
        return x

    def forward(
        self,
        ids: Int[Tensor, "b t"],
        real: Bool[Tensor, "b t"],
        segments: Int[Tensor, "b t"] | None = None,
        *,
        drop: Drop | None = None,
        delta: Float[Tensor, "b t e"] | None = None,
        depth: int | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Vectors of every place.

        drop:  randomness of dropout; without it nothing is dropped
        delta: added to the token embeddings
        depth: stop after so many layers
        """
        x = self.embed(ids, segments, drop=drop, delta=delta)
        last = self.height if depth is None else depth
        return self.close(self.through(x, real, 0, last, segments=segments, drop=drop))


def mean(hidden: Float[Tensor, "b t d"], real: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """A row's mean vector over its real places, [CLS] and [SEP] among them, in float32 (as sentence-transformers)."""
    weight = real.float()[:, :, None]  # no matrix product, which autocast would round to bfloat16
    return (hidden.float() * weight).sum(1) / weight.sum(1)


def fresh(module: nn.Module, init: Literal["normal", "fan_in"], scale: float) -> None:
    """`Encoder.start`: matrices from a normal cut at two deviations, of `scale` or 1/sqrt(columns); zero biases."""
    if isinstance(module, nn.Linear):
        deviation = scale if init == "normal" else module.in_features**-0.5
        nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        for bias in (parameter for name, parameter in module.named_parameters() if name == "bias"):
            nn.init.zeros_(bias)
    elif isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=scale, a=-2 * scale, b=2 * scale)


_Sizes = TypeVar("_Sizes", bound=Encoder.Config)


def scaled(sizes: _Sizes, width: float, depth: float) -> _Sizes:
    """`Encoder.Config.scaled` of sizes with `hidden`, `ffn`, `heads` and `layers`.

    Heads keep their size, but for a generator narrower than one (ELECTRA's official code: hidden // 64 or 1).
    """
    now: Any = sizes
    hidden, size = round(now.hidden * width), now.hidden // now.heads
    if hidden < 1 or depth <= 0:
        raise UserError(f"corruptor: width {width:.4g} and depth {depth:.4g} leave no generator; choose larger")
    if hidden > size and hidden % size:
        near = " or ".join(f"{n * size / now.hidden:.4g}" for n in (hidden // size, hidden // size + 1))
        raise UserError(
            f"corruptor: width {width:.4g} makes a generator of hidden {hidden}, which is no multiple of the "
            f"encoder's head size {size}; choose width {near}"
        )
    return replace(
        now,
        hidden=hidden,
        ffn=max(1, round(now.ffn * width)),
        heads=max(1, hidden // size),
        layers=max(1, round(now.layers * depth)),
    )


CHOICES = frozenset(
    {"documents", "dropout", "attention_dropout", "init", "init_scale", "position_start", "attention_start"}
)
"""Fields of configurations that do not change what given weights compute, so a run may choose its own."""


def computation_of(encoder: Encoder) -> dict[str, object]:
    """What two encoders must agree in for the same weights to mean the same: sizes, heads, norms, rotary bases."""
    chosen = {name: value for name, value in vars(encoder.config).items() if name not in CHOICES}
    return {"kind": type(encoder), "tokens": encoder.tokens.num_embeddings, **chosen}


def plain(encoder: Encoder) -> Encoder:
    """An encoder whose tables stand by themselves: one that stands on a generator's (DeBERTaV3) is computed once."""
    if any(parametrize.is_parametrized(module) for module in encoder.modules()):
        encoder = copy.deepcopy(encoder)
        for module in [module for module in encoder.modules() if parametrize.is_parametrized(module, "weight")]:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return encoder
