"""Numbers that move with the progress of training: temperatures, rates, shares."""

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.errors import UserError

Kind = Literal["exponential", "linear", "polynomial", "cosine", "step", "constant"]


@final
@dataclass(frozen=True)
class Schedule:
    """A function of the fraction u of training done, from `start` at u = 0 towards `end`.

    exponential  end + (start - end) exp(-u / decay); does not quite reach the end (Fast-ELECTRA, Dong et al., 2024)
    linear       end + (start - end) (1 - u / span)
    polynomial   end + (start - end) (1 - u / span) ** power
    cosine       end + (start - end) (1 + cos(pi u / span)) / 2
    step         start before u = span, then end
    constant     start

    linear, polynomial and cosine stand at the end from u = span on. Only the kinds are the paper's; its digests give no
    values, so span and power are ours.
    """

    kind: Kind = "constant"
    """Shape of the curve."""
    start: float = 1.0
    """Value at the beginning; the value for good where the kind is constant."""
    end: float = 1.0
    """Value that it moves to."""
    decay: float = 0.1
    """Of exponential: the fraction of training in which the distance to the end falls to 1/e."""
    span: float = 1.0
    """The fraction of training in which the others arrive."""
    power: float = 2.0
    """Of polynomial."""

    def __post_init__(self) -> None:
        for name in ("start", "end", "decay", "span", "power"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"schedule: {name} is {getattr(self, name)}; choose a number")
        if self.decay <= 0 or self.power <= 0 or not 0 < self.span <= 1:
            raise UserError("schedule: decay and power must be above 0, span above 0 and at most 1")

    def __call__(self, progress: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The value at a fraction of training, a tensor: a step is not compiled again as it moves."""
        done = (progress / self.span).clamp(max=1.0)
        if self.kind == "exponential":
            left = torch.exp(-progress / self.decay)
        elif self.kind == "linear":
            left = 1 - done
        elif self.kind == "polynomial":
            left = (1 - done) ** self.power
        elif self.kind == "cosine":
            left = (1 + torch.cos(math.pi * done)) / 2
        elif self.kind == "step":
            left = (progress < self.span).float()
        else:
            left = torch.ones_like(progress)
        return self.end + (self.start - self.end) * left

    @property
    def values(self) -> tuple[float, ...]:
        """The two ends between which it stays."""
        return (self.start,) if self.kind == "constant" else (self.start, self.end)


ONE = Schedule("constant", start=1.0)
"""1 throughout."""
ZERO = Schedule("constant", start=0.0)
"""0 throughout."""
