"""The mean of a run's last weights: less noise of the last batches in them (Izmailov et al., 2018, section 3)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from electrain import checkpoint as checkpoints
from electrain.errors import UserError


def last_of(run_dir: Path, end: Path, count: int, warn: Callable[[str], None]) -> list[Path]:
    """The last `count` whole checkpoints of a run up to `end`, oldest first; damaged ones are named and passed over.

    The best, kept from long ago, is none of them, nor are the weights of step 0.
    UserError for a count below 1, or more than there are.
    """
    if count < 1:
        raise UserError(f"--average {count}: choose 1 (the one checkpoint) or more")
    if count == 1:
        return [end]
    found: list[Path] = []
    lone = checkpoints.lone(run_dir)
    for path in checkpoints.listed(run_dir):
        if path == end:
            found.append(path)
        elif 0 < checkpoints.step_of(path) < checkpoints.step_of(end) and path.name != lone:
            if what := checkpoints.damage(path):
                warn(f"{path}: damaged ({what}); left out of the average")
            else:
                found.append(path)
    if len(found) < count:
        steps = ", ".join(str(checkpoints.step_of(path)) for path in found)
        raise UserError(
            f"--average {count}: {run_dir} holds fewer of its last checkpoints up to step {checkpoints.step_of(end)} "
            f"({steps}); train with --keep {count} or more"
        )
    return found[-count:]


def load_mean(system: nn.Module, paths: Sequence[Path]) -> None:
    """Fill a system with the mean of its weights in several checkpoints; what counts in whole numbers is the last's.

    Summed in float64: a mean of equal weights is these weights, bit for bit. UserError if one does not fit the system.
    """
    sums: dict[str, torch.Tensor] = {}
    for path in paths:
        checkpoints.load_weights(system, path)
        for name, tensor in checkpoints.weights(system).items():
            if tensor.is_floating_point():
                sums[name] = sums[name] + tensor if name in sums else tensor.to(torch.float64, copy=True)
    with torch.no_grad():
        for name, tensor in checkpoints.weights(system).items():
            if name in sums:
                tensor.copy_(sums[name] / len(paths))
