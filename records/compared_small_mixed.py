"""compared_small.py with half of the samples drawn by frequency, whatever stands beside them."""

import compared_small
from compared_mixed import mixed

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator that gives half of the samples."""
    return mixed(compared_small.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA whose frozen generator gives half of the samples."""
    return mixed(compared_small.frozen(size))
