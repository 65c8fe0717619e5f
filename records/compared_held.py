"""compared_near.py with the generator's temperature held at 2, where it starts there and falls to 1."""

from dataclasses import replace

import compared_near

from electrain.curriculum import Schedule
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

HELD = Schedule("constant", 2.0)


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator that is sampled at a temperature of 2 to the end."""
    return held(compared_near.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its frozen generator sampled at a temperature of 2 to the end."""
    return held(compared_near.frozen(size))


def held(run: Run) -> Run:
    """The run at a temperature that does not fall."""
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, temperature=HELD)))
