"""compared_small.py with the generator's 64 likeliest tokens as it has them, and the rest of its mass by frequency."""

from dataclasses import replace

import compared_small

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

KEPT = 64


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose tail is drawn by frequency."""
    return _kept(compared_small.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA with a generator run at every step, its tail drawn by frequency as a cache's is."""
    return _kept(compared_small.frozen(size))


def _kept(run: Run) -> Run:
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, kept=KEPT)))
