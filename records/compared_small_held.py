"""compared_small.py with the generator's temperature held at 2, where it starts there and falls to 1."""

from dataclasses import replace

import compared_small

from electrain.curriculum import Schedule
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

HELD = Schedule("constant", 2.0)


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator that is sampled at a temperature of 2 to the end."""
    run = compared_small.joint(size)
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, temperature=HELD)))
