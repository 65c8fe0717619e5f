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
    """A warning for every learning rate whose warm-up the run is too short for."""
    found = {"optim": run.optim, **{f"optim.{name}": value for name, value in vars(run.optim).items()}}
    return [
        f"warning: the warm-up ({name}.warmup) takes {adam.warmup:,} steps and the run {run.steps:,}: the learning "
        f"rate never reaches {adam.lr:g}; choose a shorter one"
        for name, adam in found.items()
        if isinstance(adam, Adam) and adam.warmup > run.steps
    ]
