"""What lies in the memory of one device under DDP and under FSDP2, and how many rows fit beside it.

DDP keeps everything whole on every device, float32; its gradients are the buckets that it reduces. FSDP2 keeps a share
of weights, gradients and Adam's two means on each, and gathers the weights in the format of the products: each layer
for its turn, the next one ahead of it, and what is in no layer (tables, heads) for the whole step; their gradients pass
in that format. Between micro-batches that are not reduced, FSDP2 keeps the whole gradient, in float32.
"""

import math
from dataclasses import dataclass
from typing import Literal

from electrain.plan.gpus import Gpu
from electrain.plan.needs import Needs

Kind = Literal["ddp", "fsdp"]

# Of a device's memory: what its driver, NCCL and the allocator's gaps leave to tensors. Assumed.
USABLE = 0.9


@dataclass(frozen=True)
class Held:
    """Bytes on a device at the peak of a step.

    parameters, gradients, adam: float32, a share of them under FSDP2; the whole gradient as well where it is kept
    passing:  weights and gradients in the format of the products: autocast's copies (DDP), or what is gathered (FSDP2)
    rows:     of the micro-batch
    alive:    of its activations, logits and masks, by number format
    """

    parameters: float
    gradients: float
    adam: float
    passing: float
    rows: int
    alive: dict[str, float]

    @property
    def fixed(self) -> float:
        """Whatever the rows."""
        return self.parameters + self.gradients + self.adam + self.passing

    @property
    def total(self) -> float:
        """All of it."""
        return self.fixed + sum(self.alive.values())


def held(needs: Needs, kind: Kind, devices: int, rows: int, parts: int = 1) -> Held:
    """On one of `devices`, in a step of `parts` micro-batches of `rows` rows each."""
    alive = {name: size * rows for name, size in needs.alive.items()}
    parameters, trained = 4.0 * needs.parameters, 4.0 * needs.trained
    if kind == "ddp":
        return Held(parameters, trained, 2 * trained, float(needs.copies), rows, alive)
    width = 2 if needs.dtype == "bfloat16" else 4
    root = needs.parameters - sum(needs.layers)
    gathered = width * (root + 2 * max(needs.layers, default=0))
    kept = trained if parts > 1 else 0.0
    shares = parameters / devices, trained / devices + kept, 2 * trained / devices
    return Held(*shares, 2.0 * gathered, rows, alive)


def most(needs: Needs, kind: Kind, devices: int, gpu: Gpu, parts: int = 1) -> int:
    """The most rows of a micro-batch that fit on a device; 0 where none does."""
    room = USABLE * gpu.memory - held(needs, kind, devices, 0, parts).fixed
    return max(0, math.floor(room / needs.row))
