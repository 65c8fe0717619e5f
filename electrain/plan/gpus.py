"""What GPUs can do, from their makers' data sheets.

Dense rates: data sheets often print twice as much, which holds for matrices with half of their numbers zero. Sources:
NVIDIA's data sheets of V100 (2020), A100 (2021), L40S (2023), H100 (2023), H200 (2024) and DGX B200 (2024) for rates,
memory and links; of DGX A100, H100, H200 and B200 for the network, one card of 200 or 400 Gbit/s for every GPU. The
V100 and the L40S have no such system of reference: 100 Gbit/s for a node of 8 V100, 200 Gbit/s for a node of 4 L40S.
"""

from dataclasses import dataclass

from electrain.errors import UserError

GB = 10**9


@dataclass(frozen=True)
class Gpu:
    """One GPU, and the machine that it usually sits in.

    bfloat16, float32: matrix products, operations a second; bfloat16 is 0 where the GPU has none. float32 without TF32,
                       which torch leaves off
    memory:            bytes
    bandwidth:         of its memory, bytes a second
    link:              to the other GPUs of the machine, bytes a second in one direction
    node:              GPUs of a machine
    network:           from the machine to others, bytes a second in one direction for each of its GPUs
    """

    name: str
    bfloat16: float
    float32: float
    memory: int
    bandwidth: float
    link: float
    node: int
    network: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("v100", 0.0, 15.7e12, 32 * GB, 900e9, 150e9, 8, 1.5625e9),
        Gpu("a100-40gb", 312e12, 19.5e12, 40 * GB, 1555e9, 300e9, 8, 25e9),
        Gpu("a100", 312e12, 19.5e12, 80 * GB, 2039e9, 300e9, 8, 25e9),
        Gpu("l40s", 362e12, 91.6e12, 48 * GB, 864e9, 32e9, 4, 6.25e9),
        Gpu("h100", 989e12, 67e12, 80 * GB, 3350e9, 450e9, 8, 50e9),
        Gpu("h200", 989e12, 67e12, 141 * GB, 4800e9, 450e9, 8, 50e9),
        Gpu("b200", 2250e12, 75e12, 180 * GB, 8000e9, 900e9, 8, 50e9),
    )
}


def gpu(name: str) -> Gpu:
    """UserError for a name that is not in the table."""
    if name not in GPUS:
        raise UserError(f"--gpu {name}: no figures of it; choose one of {', '.join(GPUS)}")
    return GPUS[name]
