"""From a run to the loaders of its rows, for this process."""

from functools import partial
from typing import Any

from electrain import distributed
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.run import Run
from electrain.source import Source


def training(run: Run, shards: Shards, source: Source) -> Loader:
    """Of the rows that are trained on, as many a step as the run's growth has it."""
    grows, begins = run.growth, run.growth.short(run.steps)
    more: dict[str, Any] = {"seed": run.seed, "accumulate": run.accumulate}
    before = partial(grows.before, steps=run.steps, batch=run.batch)
    loader = _loader(run, shards, source, run.length, run.batch, before=before, **more)
    if begins:
        if loader.reader is not None:
            raise UserError(
                f"growth: length is {grows.length}, but the cache's proposals are for rows of {run.length} tokens from "
                "the first step on; leave out --growth.length"
            )
        times = run.length // grows.length
        short = _loader(
            run, shards, source, grows.length, run.batch * times, before=lambda step: times * before(step), **more
        )
        loader.shorter = begins, short
    return loader


def held_out(run: Run, shards: Shards, source: Source) -> Loader:
    """Of the rows of an evaluation, the same for every seed."""
    rows = max(min(run.batch // run.accumulate, run.eval_rows), distributed.ranks())
    return _loader(run, shards, source, run.length, rows, seed=0)


def _loader(run: Run, shards: Shards, source: Source, length: int, batch: int, **more: Any) -> Loader:
    packing = run.packing.build(shards, length)
    reader = run.system.reader(source, packing)
    return Loader(
        packing, shards.vocab, batch=batch, reader=reader, rank=distributed.rank(), ranks=distributed.ranks(), **more
    )
