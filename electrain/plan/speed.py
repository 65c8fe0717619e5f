"""Time of a step on one device, from its operations and the bytes that it moves.

A GPU multiplies at a part of its data sheet's rate, and between products it waits for memory: narrow encoders do so
most of the time. So a micro-batch takes

    operations / (PRODUCTS x peak)  +  MOVES x bytes saved for the backward pass / (STREAM x bandwidth)

and what its kernels take to start and to run dry, whatever the rows. The share of the peak that comes out is what is
called model FLOPs utilisation; where one is given (`--mfu`), it replaces the sum. None of these numbers is measured by
us on a GPU: `docs/scale.md` holds them against published runs and against the CPUs that we have measured.
"""

from electrain.plan.gpus import Gpu
from electrain.plan.needs import Needs

# Of the data sheet's matrix rate: what bfloat16 products as wide as encoders reach on A100 and H100 is 0.4 to 0.7.
PRODUCTS = 0.5
# Of the data sheet's memory bandwidth, in kernels that only move data.
STREAM = 0.8
# What is saved is written once, read by what follows, read again in the backward pass, and has a gradient: compiled
# into few kernels, each of the four is one pass over memory.
MOVES = 4
# Seconds of a kernel in which the GPU is not full; kernels a matrix product: itself, and the compiled loop after it.
LAUNCH, KERNELS = 5e-6, 2
# Bytes of a trained parameter that clipping and AdamW read and write: gradient twice and its scaled copy, weight and
# two means read and written.
UPDATE = 40


def peak(needs: Needs, gpu: Gpu) -> float:
    """The data sheet's operations a second in the format of the run's products."""
    return gpu.bfloat16 if needs.dtype == "bfloat16" else gpu.float32


def computing(needs: Needs, rows: int, gpu: Gpu, mfu: float | None = None) -> float:
    """Seconds of the forward and backward pass over a micro-batch."""
    operations = needs.operations * rows
    if mfu is not None:
        return operations / (mfu * peak(needs, gpu))
    products = operations / (PRODUCTS * peak(needs, gpu))
    moved = MOVES * needs.saved * rows / (STREAM * gpu.bandwidth)
    return products + moved + LAUNCH * KERNELS * needs.products


def updating(needs: Needs, gpu: Gpu, shares: int = 1) -> float:
    """Seconds of clipping and AdamW, of one share of the weights."""
    return UPDATE * needs.trained / shares / (STREAM * gpu.bandwidth)
