"""What is done where training goes wrong: a loss or a gradient that is not finite, or a spike."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from electrain.distributed import parted, ranks, total
from electrain.errors import UserError

_MEMORY = 100  # steps, about, that a running mean looks back
_FEW = 10  # steps without which there is nothing to stand out from


@dataclass(frozen=True)
class Trouble:
    """A step is bad if its loss or its gradient is not finite, or stands out. What then is done is said here."""

    policy: Literal["stop", "skip", "rewind"] = "stop"
    """End the run; leave the update out; or go back to the last good checkpoint and pass over the rows of the bad step.
    Each is written to metrics.jsonl."""
    loss: float = 0.0
    """A loss above this many times its mean over the last hundred steps is bad; 0 for never."""
    norm: float = 0.0
    """The same of the gradient's norm, before it is clipped."""
    rewinds: int = 10
    """Most rewinds without a checkpoint that was not there before; then the run ends."""

    def __post_init__(self) -> None:
        for name in ("loss", "norm"):
            if getattr(self, name) != 0 and not 1 < getattr(self, name) < float("inf"):
                raise UserError(f"trouble: {name} is {getattr(self, name)}; choose a number above 1, or 0 for never")
        if self.rewinds < 1:
            raise UserError(f"trouble: rewinds is {self.rewinds}; choose 1 or more")


class Bad(NamedTuple):
    """A bad step, from 0, and what was wrong in it."""

    step: int
    why: str


class Guard:
    """Judges every step on the device; what it found is read when somebody looks.

    mean   (2,)  running means of loss and gradient norm over good steps
    count  ()    good steps that they saw
    """

    def __init__(self, trouble: Trouble, device: torch.device, kept: list[float] | None):
        limits = [limit or torch.inf for limit in (trouble.loss, trouble.norm)]
        self.limits = None if limits == [torch.inf, torch.inf] else torch.tensor(limits, device=device)
        self.mean = torch.tensor(kept[:2] if kept else [0.0, 0.0], device=device)
        self.count = torch.tensor(kept[2] if kept else 0.0, device=device)
        self._judged: list[tuple[int, Tensor]] = []

    def judge(self, step: int, loss: Float[Tensor, ""], norm: Float[Tensor, ""]) -> Bool[Tensor, ""]:
        """Whether the step is bad, without waiting for the device.

        loss: of this process; norm: of the gradient, already that of all
        """
        seen = torch.stack([total(loss) / ranks(), norm.detach()])
        marks = ~seen.isfinite()[None]
        if self.limits is not None:
            known = self.count >= _FEW
            marks = torch.cat([marks, (known & (seen > self.limits * self.mean))[None]])
            good = ~marks.any()
            self.count += good
            share = good / self.count.clamp(min=1, max=_MEMORY)
            self.mean += share * (torch.where(good, seen, 0.0) - self.mean)
        self._judged.append((step, marks))
        return marks.any()

    def look(self) -> list[Bad]:
        """The bad steps since the last look; waits for the device."""
        judged, self._judged = self._judged, []
        if not judged or not torch.stack([marks for _, marks in judged]).any():
            return []
        what = (
            ("the loss is not finite", "the gradient is not finite"),
            ("a spike of the loss", "a spike of the gradient"),
        )
        found = []
        for step, marks in judged:
            if marks.any():
                kind, which = marks.nonzero()[0].tolist()  # the first alone: a loss takes its gradient with it
                found.append(Bad(step, what[kind][which]))
        return found

    def state(self) -> list[float]:
        """What a checkpoint keeps."""
        return [*self.mean.tolist(), self.count.item()]


def leave_out(optimizer: torch.optim.Optimizer, system: nn.Module, bad: Tensor) -> None:
    """Make the next update none where the step is bad."""
    if any(parted(parameter) for parameter in system.parameters()):
        if bad.item():  # waits for the device: the fused update of parts knows no other way
            optimizer.zero_grad(set_to_none=True)
    else:
        optimizer.found_inf = bad.float()  # pyright: ignore  (torch's own, of gradient scaling)


def number(step: int, skipped: list[int]) -> int:
    """The number of the rows that a step reads: steps read 0, 1, 2, ... with the skipped ones left out."""
    for gone in sorted(skipped):
        if gone > step:
            break
        step += 1
    return step
