"""Generator and discriminator each with its own optimizer (Dong et al., ICML 2023)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.optim.adam import Adam, adamw
from electrain.optim.base import Optim

_GENERATOR = "corruptor."
_GROUPS = 2  # of a part: decayed, and not decayed


@final
@dataclass(frozen=True)
class Decoupled(Optim):
    """Two AdamWs in one: the weights that only the corruptor has, and all others, which the shared ones are among.

    Adam divides a gradient by its own size, so that a weight between two losses is lost on weights that are not shared;
    it acts through the common clip and Adam's epsilon alone. Here each part has its own learning rate and its own clip.
    """

    discriminator: Adam = field(default_factory=Adam)
    """Of the encoder that is being pre-trained, its head, and what generator and encoder share."""
    generator: Adam = field(default_factory=Adam)
    """Of the weights that only the corruptor has."""

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        ours, theirs = _parts(model)
        return adamw([(self.discriminator, ours), (self.generator, theirs)])

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        rates = {"lr": self.discriminator.rate(step, steps), "lr_generator": self.generator.rate(step, steps)}
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = rates["lr" if number < _GROUPS else "lr_generator"] * group.get("scale", 1.0)
        return rates

    def clip_gradients(self, model: nn.Module) -> Float[Tensor, ""]:
        """Each part to its own limit; the norm is that of both."""
        settings = (self.discriminator, self.generator)
        norms = [
            nn.utils.clip_grad_norm_([parameter for _, parameter in part], adam.clip or math.inf)
            for adam, part in zip(settings, _parts(model), strict=True)
        ]
        return torch.stack(norms).norm()


def _parts(model: nn.Module) -> tuple[Iterable[tuple[str, nn.Parameter]], Iterable[tuple[str, nn.Parameter]]]:
    """Every parameter once by its first name: what is shared with the encoder has the encoder's."""
    named = list(model.named_parameters())
    return [p for p in named if not p[0].startswith(_GENERATOR)], [p for p in named if p[0].startswith(_GENERATOR)]
