"""compared_small.py with the generator's temperature held at 2, where it starts there and falls to 1."""

import compared_small
from compared_held import held

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator that is sampled at a temperature of 2 to the end."""
    return held(compared_small.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its frozen generator sampled at a temperature of 2 to the end."""
    return held(compared_small.frozen(size))


def cached(size: Size = TINY) -> Run:
    """Fast-ELECTRA from a cache of proposals, sampled at a temperature of 2 to the end."""
    return held(compared_small.cached(size))
