"""compared_small.py with half of the samples drawn by frequency, whatever stands beside them."""

from dataclasses import replace

import compared_small

from electrain.corruptors.mixture import Mixture
from electrain.corruptors.unigram import Unigram
from electrain.curriculum import Schedule
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

HALF = Schedule("constant", 0.5)


def joint(size: Size = TINY) -> Run:
    """ELECTRA whose generator gives half of the samples, by its temperature that falls from 2 to 1."""
    run = compared_small.joint(size)
    generator = run.system.corruptor
    corruptor = Mixture.Config(Unigram.Config(rate=generator.rate), generator, HALF)
    return replace(run, system=replace(run.system, corruptor=corruptor))
