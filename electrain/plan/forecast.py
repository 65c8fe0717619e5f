"""A run on so many devices: what fits, how a step's time is spent, and what the whole comes to."""

import math
from dataclasses import dataclass

from electrain.errors import UserError
from electrain.plan.device import Held, Kind, held, most
from electrain.plan.links import Links
from electrain.plan.needs import Needs
from electrain.plan.speed import computing, peak, updating

BUCKET = 25 * 2**20  # bytes that DDP reduces at a time


@dataclass(frozen=True)
class Forecast:
    """Computed, not measured.

    devices:       of how many
    rows:          of a device in a step; the fullest where the batch is no multiple of the devices
    parts:         micro-batches that they are done in
    held:          the memory of a device
    most:          rows of the largest micro-batch that fits
    computing:     seconds of a step's forward and backward passes
    communicating: seconds of its collective operations
    waiting:       of them, those that no computation hides
    updating:      seconds of clipping and the optimizer
    tokens:        a second, of all devices
    share:         of the peak matrix rate
    days:          of the run
    """

    kind: Kind
    devices: int
    rows: int
    parts: int
    held: Held
    most: int
    computing: float
    communicating: float
    waiting: float
    updating: float
    tokens: float
    share: float
    days: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.computing + self.waiting + self.updating

    @property
    def hours(self) -> float:
        """GPU-hours of the run."""
        return 24 * self.days * self.devices


def forecast(
    needs: Needs, kind: Kind, links: Links, parts: int = 1, mfu: float | None = None, batch: int | None = None
) -> Forecast | None:
    """On all devices of `links`; None where not even one row fits.

    parts: micro-batches at least; more where the rows of a device do not fit at once
    batch: in place of the run's
    UserError where there are more devices than rows.
    """
    gpu, devices = links.gpu, links.devices
    batch = needs.batch if batch is None else batch
    if devices > batch:
        raise UserError(
            f"--gpus {devices}: more than the {batch} rows of a step, so that some have none; give a larger --batch"
        )
    rows = math.ceil(batch / devices)
    limit = most(needs, kind, devices, gpu, parts)
    if limit < math.ceil(rows / parts):
        limit = most(needs, kind, devices, gpu, 2)  # a gradient to be kept is counted in
        if not limit:
            return None
        parts = math.ceil(rows / limit)
        while rows % parts:  # micro-batches are of one size
            parts += 1
    micro = math.ceil(rows / parts)
    once = computing(needs, micro, gpu, mfu)
    computed = parts * once
    communicating, waiting = (_ddp if kind == "ddp" else _fsdp)(needs, links, once, parts)
    update = updating(needs, gpu, devices if kind == "fsdp" else 1)
    step = computed + waiting + update
    tokens = batch * needs.length / step
    return Forecast(
        kind=kind,
        devices=devices,
        rows=rows,
        parts=parts,
        held=held(needs, kind, devices, micro, parts),
        most=limit,
        computing=computed,
        communicating=communicating,
        waiting=waiting,
        updating=update,
        tokens=tokens,
        share=tokens / needs.length * needs.operations / devices / peak(needs, gpu),
        days=needs.steps * step / 86400,
    )


def _ddp(needs: Needs, links: Links, once: float, parts: int) -> tuple[float, float]:
    """Seconds of communication and of waiting for it: once a step, behind the last backward pass (two thirds of the
    last micro-batch), but for the tables, whose gradients come last.
    """
    size = 4.0 * needs.trained
    takes = links.reduce(size, math.ceil(size / BUCKET))
    return takes, max(takes - 2 / 3 * once, links.reduce(4.0 * needs.last))


def _fsdp(needs: Needs, links: Links, once: float, parts: int) -> tuple[float, float]:
    """Seconds of communication and of waiting for it: every micro-batch gathers the weights for its forward and again
    for its backward pass; the last one scatters the gradients, in float32. What is in no layer is gathered once, before
    there is anything to compute, and scattered at the end.
    """
    width = 2.0 if needs.dtype == "bfloat16" else 4.0
    layers, groups = sum(needs.layers), len(needs.layers)
    gather = links.share(width * (needs.parameters - layers)) + 2 * links.share(width * layers, groups)
    scatter = links.share(4.0 * needs.trained, groups + 1)
    least = links.share(width * (needs.parameters - layers)), links.share(4.0 * needs.last)
    waiting = (parts - 1) * max(gather - once, least[0]) + max(gather + scatter - once, sum(least))
    return parts * gather + scatter, waiting
