"""AdamW as the papers use it: parameter groups, bias correction or not, and schedules as functions of the step."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.errors import UserError
from electrain.optim.base import Optim

# Adam multiplies its step by sqrt(1 - b2**n) / (1 - b1**n). At this n both powers are zero in float64, and adding one
# to it in float32 changes nothing: an optimizer that has "run for ever" makes no correction.
_FOREVER = float(2**30)


@final
@dataclass(frozen=True)
class Adam(Optim):
    """AdamW with decoupled weight decay, warm-up and decay (ELECTRA, table 6)."""

    lr: float = 5e-4
    """Peak learning rate."""
    warmup: int = 10_000
    """Steps of linear warm-up from 0."""
    schedule: Literal["linear", "official", "cosine", "constant", "wsd", "sqrt"] = "linear"
    """After the warm-up: linear to 0, cosine to 0, or constant. "official" is the official code's product of warm-up
    and of a linear decay that starts at step 0, so that the peak is never quite reached. "wsd" (warm-up, stable, decay)
    and "sqrt" are constant until the cooldown, then fall to 0 linearly, or as 1 - sqrt (Hägele et al., 2024)."""
    cooldown: float = 0.2
    """Of "wsd" and "sqrt": the last share of the steps, in which the rate falls."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running mean of gradients and of their squares."""
    eps: float = 1e-6
    """Added to the root of the mean square."""
    weight_decay: float = 0.01
    """Decoupled weight decay; not on LayerNorms and biases."""
    clip: float = 1.0
    """Largest global norm of the gradient; 0 leaves it as it is."""
    bias_correction: bool = True
    """Adam's bias correction (Kingma and Ba, algorithm 1). The official ELECTRA code has none."""

    def __post_init__(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise UserError(f"optim: lr is {self.lr}; choose a positive number")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"optim: betas are {self.betas[0]} and {self.betas[1]}; choose from 0 to below 1")
        if not 0 < self.cooldown <= 1:
            raise UserError(f"optim: cooldown is {self.cooldown}; choose a share above 0, at most 1")
        for name in ("warmup", "eps", "weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"optim: {name} is {getattr(self, name)}; choose 0 or more")

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0 .. steps - 1: never 0 in the first step, near 0 in the last."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        left = (steps - step) / max(1, steps - self.warmup)
        if self.schedule == "linear":
            return self.lr * min(rise, left)
        if self.schedule == "official":
            return self.lr * rise * (1 - step / steps)
        if self.schedule == "cosine":
            return self.lr * min(rise, 0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))
        if self.schedule in ("wsd", "sqrt"):
            left = min(1.0, (steps - step) / (self.cooldown * steps))
            return self.lr * min(rise, left if self.schedule == "wsd" else 1 - math.sqrt(1 - left))
        return self.lr * rise

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        return adamw([(self, model.named_parameters())])

    def set_rate(self, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        rate = self.rate(step, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)  # layer-wise decay
        return {"lr": rate}

    def clip_gradients(self, model: nn.Module) -> Float[Tensor, ""]:
        return nn.utils.clip_grad_norm_(model.parameters(), self.clip or math.inf)


def adamw(parts: Iterable[tuple[Adam, Iterable[tuple[str, nn.Parameter]]]]) -> torch.optim.AdamW:
    """One AdamW over named parameters, each part with its own settings in two groups: decayed, and not decayed.

    Parameters that are frozen get no group and no state.
    """
    groups, started = [], []
    for settings, named in parts:
        decayed, plain = [], []
        for name, parameter in named:
            if parameter.requires_grad:
                (plain if parameter.dim() == 1 or name.endswith("bias") else decayed).append(parameter)
        common = {"lr": settings.lr, "betas": settings.betas, "eps": settings.eps}
        groups.append({"params": decayed, "weight_decay": settings.weight_decay, **common})
        groups.append({"params": plain, "weight_decay": 0.0, **common})
        started += [(parameter, 0.0 if settings.bias_correction else _FOREVER) for parameter in decayed + plain]
    optimizer = torch.optim.AdamW(groups, fused=True)
    for parameter, steps in started:
        optimizer.state[parameter] = {
            "step": torch.tensor(steps, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer
