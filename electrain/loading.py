"""From a run to the loaders of its rows, for this process."""

from functools import partial

from electrain import distributed
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.run import Run
from electrain.source import Source


def training(run: Run, shards: Shards, source: Source) -> Loader:
    """Of the rows that are trained on, as many a step as the run's growth has it."""
    loader = _loader(run, shards, source, run.length, run.batch, run.seed, run.accumulate)
    grows, begins = run.growth, run.growth.short(run.steps)
    loader.before = partial(grows.before, steps=run.steps, batch=run.batch)
    if begins:
        more = run.length // grows.length
        short = _loader(run, shards, source, grows.length, run.batch * more, run.seed, run.accumulate)
        short.before = lambda step: more * grows.before(step, run.steps, run.batch)
        loader.shorter = (begins, short)
    return loader


def held_out(run: Run, shards: Shards, source: Source) -> Loader:
    """Of the rows of an evaluation, the same for every seed."""
    rows = max(min(run.batch // run.accumulate, run.eval_rows), distributed.ranks())
    return _loader(run, shards, source, run.length, rows, seed=0)


def _loader(
    run: Run, shards: Shards, source: Source, length: int, batch: int, seed: int, accumulate: int = 1
) -> Loader:
    packing = run.packing.build(shards, length)
    reader = run.system.reader(source, packing)
    return Loader(
        packing, shards.vocab, batch=batch, seed=seed, accumulate=accumulate, reader=reader,
        rank=distributed.rank(), ranks=distributed.ranks(),
    )  # fmt: skip
