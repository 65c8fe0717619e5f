"""Fast-ELECTRA with the auxiliary's proposals cached offline (Dong et al., ICLR 2024, 2310.07347)."""

from electrain.batch import slots
from electrain.corruptors.cached import Cached
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System

TOP = 64  # as `electrain cache` keeps; only for counting before the cache is read


def fast_electra_cached(size: Size = BASE) -> Run:
    """Fast-ELECTRA (Dong et al., 2024) whose frozen generator's proposals are cached offline; the cache is ours.

    No generator is run: `electrain cache GENERATOR --data DIR --out CACHE --length T` has run it once, and the run is
    given CACHE by --system.corruptor.cache. The temperature falls as in Fast-ELECTRA, T = 1 + exp(-u / 0.1); the values
    2 and 0.1, K = 64 proposals of a place and the way the rest is sampled are choices of ours. There is no generator
    loss, so that the weight of the objective's only rescales the gradient; it is 1.

    electrain pretrain fast_electra_cached --data DIR --out RUN --system.corruptor.cache CACHE
    """
    cached = Cached.Config(slots=slots(size.rate, size.length), top=TOP)
    return size.run("fast_electra_cached", System.Config(size.encoder, cached, Rtd.Config()))
