"""What every optimizer is: a description that builds it, and its learning rates as functions of the step."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Optim(ABC):
    """How weights are updated; saved in run.json."""

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer, its state laid out, over every parameter that is trained, once, however often it is shared."""

    @abstractmethod
    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        """Give every group the learning rate of step 0 .. steps - 1; returns the rates by name, "lr" among them."""

    @abstractmethod
    def clip_gradients(self, model: nn.Module) -> Float[Tensor, ""]:
        """Bound the gradients; returns their global norm as it was before."""
