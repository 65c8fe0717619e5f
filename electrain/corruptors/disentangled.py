"""Gradient-disentangled embedding sharing: the discriminator's table stands on the generator's (He et al., 2021)."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize


@final
class OnTopOf(nn.Module):
    """A table as the sum of another, through which no gradient flows, and of what is learnt on top of it."""

    def __init__(self, base: nn.Embedding):
        super().__init__()
        # In a tuple: the base is the generator's parameter, and must not appear as the discriminator's too.
        self.base = (base,)

    def forward(self, delta: Float[Tensor, "v e"]) -> Float[Tensor, "v e"]:
        """The table: base + delta."""
        return self.base[0].weight.detach() + delta

    def right_inverse(self, table: Float[Tensor, "v e"]) -> Float[Tensor, "v e"]:
        """The delta that makes a table of given values: assigning to the table stores this."""
        return table - self.base[0].weight.detach()


def disentangle(table: nn.Embedding, base: nn.Embedding) -> None:
    """Make `table` the sum of `base`, without its gradient, and a delta that starts at 0 (DeBERTaV3, 2111.09543).

    `table.weight` is then computed; what is learnt, saved and optimized is `table.parametrizations.weight.original`.
    Assigning to `table.weight` works as before.
    """
    parametrize.register_parametrization(table, "weight", OnTopOf(base))
    with torch.no_grad():
        assert isinstance(table.parametrizations, nn.ModuleDict)
        delta = table.parametrizations["weight"].original
        assert isinstance(delta, Tensor)
        delta.zero_()
