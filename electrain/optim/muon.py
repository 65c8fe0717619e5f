"""Muon for the matrices of layers, AdamW for all else."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.distributed import fill, whole
from electrain.errors import UserError
from electrain.optim.adam import Adam, adamw
from electrain.optim.base import Optim

# The quintic that pulls singular values towards 1 the fastest (Jordan et al., 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_RMS = 0.2  # root mean square of AdamW's updates, which Muon's are brought to (Liu et al., 2025, section 2.2)


@final
@dataclass(frozen=True)
class Muon(Optim):
    """Muon: momentum, of which singular values are made about 1 (Jordan et al., 2024), for every matrix in a layer.

    Queries, keys and values are three matrices. Updates are scaled to AdamW's size (Liu et al., 2025), so that learning
    rate and weight decay mean the same for both. Token tables, heads, norms and biases are AdamW's.
    """

    adam: Adam = field(default_factory=Adam)
    """Settings of AdamW; learning rate, schedule, weight decay and clip are Muon's too."""
    momentum: float = 0.95
    """Decay of the running mean of gradients."""
    iterations: int = 5
    """Of Newton and Schulz."""
    scale: float = 1.0
    """Learning rate of the matrices, in those of AdamW."""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise UserError(f"optim: momentum is {self.momentum}; choose from 0 to below 1")
        if not 1 <= self.iterations <= 100:
            raise UserError(f"optim: iterations is {self.iterations}; choose 1 to 100")
        if not 0 < self.scale < math.inf:
            raise UserError(f"optim: scale is {self.scale}; choose more than 0")

    def build(self, model: nn.Module) -> "Both":
        matrices, rest = [], []
        for name, parameter in model.named_parameters():
            inside = ".layers." in f".{name}" and parameter.dim() == 2
            (matrices if inside and parameter.requires_grad else rest).append((name, parameter))
        return Both(Orthogonal(matrices, self), adamw([(self.adam, rest)]))

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        return self.adam.set_rate(optimizer, step, steps)

    def clip_gradients(self, model: nn.Module) -> Float[Tensor, ""]:
        return self.adam.clip_gradients(model)


@final
class Orthogonal(torch.optim.Optimizer):
    """Muon's update. Matrices of one shape are worked on together."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], how: Muon):
        parts: dict[int, list[nn.Parameter]] = {1: [], 3: []}
        for name, parameter in named:
            parts[3 if name.endswith("qkv.weight") else 1].append(parameter)
        groups = [{"params": found, "rows": count} for count, found in parts.items()]
        common = {"scale": how.scale, "weight_decay": how.adam.weight_decay, "momentum": how.momentum}
        super().__init__(groups, {"lr": how.adam.lr * how.scale, **common})
        self.iterations = how.iterations
        for parameter in parts[1] + parts[3]:
            self.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """An update of every matrix that has a gradient, which the update then stands in place of."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for parameters in shapes.values():
                self._update(parameters, group)

    def _update(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        torch._foreach_lerp_(gradients, means, group["momentum"])  # Nesterov's
        # Where a process holds parts of matrices (FSDP2), it works on the whole, as under DDP, and keeps its parts.
        stacked = torch.stack([whole(gradient) for gradient in gradients])
        stacked = stacked.unflatten(1, (group["rows"], -1)).flatten(0, 1)  # (n, rows, columns)
        size = _RMS * math.sqrt(max(stacked.shape[1:]))
        made = orthogonal(stacked, self.iterations).unflatten(0, (len(parameters), -1)).flatten(1, 2)
        for gradient, update in zip(gradients, made, strict=True):
            fill(gradient, update)
        weights: list[Tensor] = [*parameters]
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, gradients, alpha=-group["lr"] * size)


def orthogonal(x: Float[Tensor, "n r c"], iterations: int) -> Float[Tensor, "n r c"]:
    """Matrices with the same singular vectors and singular values of about 1 (Newton and Schulz; Jordan et al., 2024).

    In bfloat16 on a GPU; on a CPU that has no such products it takes twenty times as long.
    """
    wide = x.shape[1] <= x.shape[2]
    y = (x if wide else x.mT).to(torch.bfloat16 if x.is_cuda else x.dtype)
    y = y / y.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        square = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(square, square, square, beta=_B, alpha=_C), y, beta=_A)
    return (y if wide else y.mT).to(x.dtype)


@final
class Both(torch.optim.Optimizer):
    """Two optimizers of different parameters as one: groups, state and steps are those of both."""

    def __init__(self, *parts: torch.optim.Optimizer):
        groups = [group for part in parts for group in part.param_groups]
        super().__init__(groups, {})
        self.parts = parts
        self.param_groups = groups  # the very dictionaries: a rate that is given to one is the other's
        for part in parts:
            self.state.update(part.state)  # and the very tensors

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A step of each, or none where the gradients were found bad."""
        bad: Tensor | None = getattr(self, "found_inf", None)
        if bad is not None and bad.item():
            return
        for part in self.parts:
            part.step()
