"""Time of collective operations: rings inside a machine and over all of its network cards, trees for the latency.

A ring of n devices sends 2(n-1)/n of the data from each device for an all-reduce, half of that for an all-gather or a
reduce-scatter (Patarasuk and Yuan, 2009). NCCL lays rings over all network cards of a machine at once, so that between
machines it is the cards together that bound them; short messages take trees, whose latency grows with the logarithm of
the number of machines.
"""

import math
from dataclasses import dataclass

from electrain.plan.gpus import Gpu

# Of a link's rate on the data sheet. Assumed; public runs of nccl-tests reach 0.7 to 0.8 inside a machine of 8 A100 and
# 0.9 over 4 machines of 8 H100 (NVIDIA/nccl-tests, issues 149 and 309).
REACHED = 0.7
# Seconds of a hop inside a machine and of a level of the tree between machines. Assumed.
HOP, LEVEL = 5e-6, 20e-6


@dataclass(frozen=True)
class Links:
    """`devices` GPUs of a kind; network: bytes a second for each, in place of what the data sheet says."""

    gpu: Gpu
    devices: int
    network: float | None = None

    @property
    def machines(self) -> int:
        """How many, each full but for the last."""
        return math.ceil(self.devices / self.gpu.node)

    @property
    def bandwidth(self) -> float:
        """Bytes a second that pass from one device to the next."""
        if self.machines == 1:
            return REACHED * self.gpu.link
        network = self.gpu.network if self.network is None else self.network
        return REACHED * min(self.gpu.link, self.gpu.node * network)

    def share(self, size: float, operations: int = 1) -> float:
        """Seconds to gather or scatter `size` bytes in all, in so many operations."""
        if self.devices == 1:
            return 0.0
        inside = HOP * (min(self.devices, self.gpu.node) - 1)
        latency = inside + LEVEL * math.ceil(math.log2(self.machines))
        return (self.devices - 1) / self.devices * size / self.bandwidth + operations * latency

    def reduce(self, size: float, operations: int = 1) -> float:
        """Seconds to sum `size` bytes over all devices: a reduce-scatter and an all-gather."""
        return 2 * self.share(size, operations)
