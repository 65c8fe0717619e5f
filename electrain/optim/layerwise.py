"""Layer-wise learning-rate decay for fine-tuning: what lies deeper moves less (ELECTRA, appendix B)."""

import re
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.optim.adam import Adam, adamw
from electrain.optim.base import Optim

_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")
_BELOW = ("encoder.embeddings.", "encoder.project.")  # what the first layer reads
_GROUPS = 2  # of a level: decayed, and not decayed


@final
@dataclass(frozen=True)
class Layerwise(Optim):
    """AdamW over an encoder (`encoder.layers.N` are its layers) and the head on top of it.

    The head learns at the full rate, the last layer (and a norm behind it) at `decay` times it, each layer below at
    `decay` times the one above, the embeddings lowest of all. (The official code applies the decay twice between the
    head and the last layer: its issue 51. Ours does not.)
    """

    adam: Adam = field(default_factory=Adam)
    """The head's settings."""
    decay: float = 0.8
    """Learning rate of a layer as a share of that of the layer above it; 1 for one rate for all."""

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        levels: dict[int, list[tuple[str, nn.Parameter]]] = {}
        named = list(model.named_parameters())
        top = 2 + max((int(found[1]) for name, _ in named if (found := _LAYER.match(name))), default=-1)
        for name, parameter in named:
            if layer := _LAYER.match(name):
                level = int(layer[1]) + 1
            elif name.startswith(_BELOW):
                level = 0
            else:
                level = top - 1 if name.startswith("encoder.") else top
            levels.setdefault(level, []).append((name, parameter))
        optimizer = adamw((self.adam, part) for part in levels.values())
        for number, level in enumerate(levels):
            for group in optimizer.param_groups[_GROUPS * number : _GROUPS * (number + 1)]:
                group["scale"] = self.decay ** (top - level)
        return optimizer

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        return self.adam.set_rate(optimizer, step, steps)

    def clip_gradients(self, model: nn.Module) -> Float[Tensor, ""]:
        return self.adam.clip_gradients(model)
