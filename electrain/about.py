"""What a run is about to do, in words, before its first step."""

import torch

from electrain.compute import number_format
from electrain.data.loader import Loader
from electrain.distributed import ranks
from electrain.flops import parameters
from electrain.optim.adam import Adam
from electrain.run import Run
from electrain.systems.base import Pretraining


def about(run: Run, system: Pretraining, loader: Loader, device: torch.device) -> list[str]:
    """What is trained, on what and for how long; and a warning where the learning rate cannot get to its peak.

    system: whole, before several processes have shared it out
    """
    trained = parameters(system, trained=True)
    parts = f" (model {trained.model:,}, generator {trained.corruptor:,})" if trained.corruptor else ""
    threads = torch.get_num_threads()
    where = f"cpu, {threads} thread{'s' if threads > 1 else ''}"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    if ranks() > 1:
        where = f"{ranks()} processes, each on {where}"
    dtype = number_format(run.compute.precision(device))
    tokens, passes = run.tokens(run.steps), loader.passes(run.steps)
    return [
        f"{run.recipe or 'run'}: {sum(trained):,} parameters are trained{parts}; {where}; {dtype}",
        f"{run.extent}: {tokens:,} tokens, {passes:,.2f} passes over the training data",
        *_unreached(run),
    ]


def _unreached(run: Run) -> list[str]:
    """A warning for every learning rate that falls, or whose run ends, before its warm-up does."""
    found = {"optim": run.optim, **{f"optim.{name}": value for name, value in vars(run.optim).items()}}
    said = []
    for name, adam in found.items():
        if not isinstance(adam, Adam):
            continue
        ends, what = run.steps, f"the run {run.steps:,}"
        if adam.schedule in ("wsd", "sqrt"):
            ends = int(run.steps - adam.cooldown * run.steps) + 1  # steps in which the rate may be at its peak
            what = f"the cooldown ({name}.cooldown) begins after {ends:,}"
        if adam.warmup > ends:
            what = f"the warm-up ({name}.warmup) takes {adam.warmup:,} steps and {what}"
            said.append(f"warning: {what}: the learning rate never reaches {adam.lr:g}; choose a shorter one")
    return said
