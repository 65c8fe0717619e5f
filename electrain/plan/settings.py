"""What a person can choose about `electrain plan`; the docstring under a field is its help."""

import math
from dataclasses import dataclass
from typing import Literal

from electrain.errors import UserError
from electrain.options import SizeName


@dataclass(frozen=True)
class Plan:
    """Memory, time and cost of a recipe on many GPUs: computed, not measured; every field of the run is an option."""

    gpus: int = 1
    """GPUs in all."""
    gpu: Literal["v100", "a100-40gb", "a100", "l40s", "h100", "h200", "b200"] = "h200"
    """Kind of GPU; its figures are those of the data sheet, its machine holds 8 (L40S: 4)."""
    parallel: Literal["both", "ddp", "fsdp"] = "both"
    """How the GPUs share the work: whole weights on each (DDP), a share of them (FSDP2), or the two side by side."""
    mfu: float | None = None
    """Share of the peak matrix rate that a GPU reaches, 0.3 for 30 percent; without it, it is estimated."""
    network: float | None = None
    """Network between machines, gigabytes a second for each GPU; without it, that of NVIDIA's own machines."""
    price: float | None = None
    """Price of a GPU for an hour, in whatever currency; without it no cost is given."""
    vocab_size: int = 30522
    """Rows of the token table."""
    size: SizeName = "own"
    """Size that the recipe is made for; own is the published one."""

    def check(self) -> None:
        """UserError if a field is out of range."""
        for name in ("gpus", "vocab_size"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: choose 1 or more")
        if self.mfu is not None and not 0 < self.mfu <= 1:
            raise UserError(f"--mfu {self.mfu}: choose a share above 0 and at most 1, 0.3 for 30 percent")
        if self.network is not None and not 0 < self.network < math.inf:
            raise UserError(f"--network {self.network}: choose a positive number of gigabytes a second")
        if self.price is not None and not 0 <= self.price < math.inf:
            raise UserError(f"--price {self.price}: choose 0 or more")
