"""Which exit of a generator is taken, by probabilities that follow the discriminator's accuracy (Kang et al., 2021)."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from electrain.distributed import total
from electrain.errors import UserError
from electrain.metrics import Metrics
from electrain.randomness import Stream, row_keys, uniform

LEAST = 1e-4  # of a probability whose logarithm is taken: an exit that is out of use must be able to come back


@final
@dataclass(frozen=True)
class ExitRule:
    """How the probabilities P of the exits change with the replaced-token accuracy of the last `every` steps.

    diff = clip(accuracy - the one before, -1, 1); R = [0, 1, 2, ...]: where it rose, deeper exits become likelier.

    paper      P <- softmax(P + alpha diff R), as published (section 2). Its probabilities serve as logits, so that P
               goes to uniform within some four updates, whatever the accuracy does
    log-space  P <- softmax(log P + alpha diff R): without a change of accuracy P stays (ours)
    set-point  P <- softmax(log P + alpha (accuracy - target) R): deeper while accuracy is above the target (ours)

    P is changed for the first time when there is a difference: after two windows of steps, set-point's after one.
    """

    kind: Literal["paper", "log-space", "set-point"] = "paper"
    """The formula."""
    alpha: float = 0.1
    """Scale of the change; 0.1 is the value behind the paper's printed example. Accuracies move by hundredths, so that
    the two rules of ours need about 100 times as much."""
    target: float = 0.93
    """Of set-point: the accuracy to hold (ours)."""
    start: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    """P at the beginning, one an exit."""
    every: int = 100
    """Steps between updates."""

    def __post_init__(self) -> None:
        if not self.start or min(self.start) < 0 or abs(sum(self.start) - 1) > 1e-6:
            raise UserError(f"exit rule: start {self.start} must be probabilities that sum to 1")
        if self.every < 1:
            raise UserError(f"exit rule: every is {self.every}; choose 1 or more")

    def __call__(
        self, probabilities: Float[Tensor, " n"], accuracy: Float[Tensor, ""], before: Float[Tensor, ""]
    ) -> Float[Tensor, " n"]:
        """P after a window of this accuracy, where the window before had another."""
        ranks = torch.arange(len(self.start), device=probabilities.device, dtype=probabilities.dtype)
        change = accuracy - self.target if self.kind == "set-point" else (accuracy - before).clamp(-1, 1)
        logits = probabilities if self.kind == "paper" else probabilities.clamp(min=LEAST).log()
        return (logits + self.alpha * change * ranks).softmax(0)


@final
class ExitChoice(nn.Module):
    """The exit of this step, the same one for the whole batch and on every process.

    probabilities  (n,)    what it is drawn from
    windows        (2, 2)  right and counted tokens of the window in progress, and of the one before it
    """

    probabilities: Tensor
    windows: Tensor

    def __init__(self, rule: ExitRule):
        super().__init__()
        self.rule = rule
        self.register_buffer("probabilities", torch.tensor(rule.start))
        self.register_buffer("windows", torch.zeros(2, 2))
        self.now = len(rule.start) - 1
        self._cumulative: list[float] | None = None

    def before(self, step: int, seed: int) -> None:
        """Draw the exit of a step: a function of P, the seed and the step. P is read when it has changed."""
        if self._cumulative is None:
            self._cumulative = self.probabilities.double().cumsum(0).tolist()
        key = row_keys(seed, step, torch.zeros(1, dtype=torch.int64))
        u = uniform(key, Stream.EXIT, torch.zeros(1, 1, dtype=torch.int64)).item() * self._cumulative[-1]
        self.now = sum(u >= edge for edge in self._cumulative[:-1])

    def after(self, step: int, metrics: Metrics) -> None:
        """Count a step's accuracy; at the end of a window change P. UserError if there is none to count."""
        if "rtd_accuracy" not in metrics:
            raise UserError("early exit: follows the accuracy of a discriminator; give it the objective rtd")
        # Summed at once: then the buffers are the same on every process, and in a checkpoint made within a window.
        self.windows[0] += total(metrics["rtd_accuracy"])
        if (step + 1) % self.rule.every:
            return
        right, counted = self.windows.unbind(1)
        accuracy, before = right / counted.clamp(min=1)
        known = (counted[1] > 0) | (self.rule.kind == "set-point")
        old = self.probabilities.clone()
        self.probabilities.copy_(torch.where(known, self.rule(old, accuracy, before), old))
        self.windows[1] = self.windows[0]
        self.windows[0] = 0.0
        self._cumulative = None
