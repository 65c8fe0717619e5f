"""compared_near.py with half of the samples drawn by frequency, whatever stands beside them."""

from dataclasses import replace

import compared_near

from electrain.corruptors.mixture import Mixture
from electrain.corruptors.unigram import Unigram
from electrain.curriculum import Schedule
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

HALF = Schedule("constant", 0.5)


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator that gives half of the samples."""
    return mixed(compared_near.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA whose frozen generator gives half of the samples."""
    return mixed(compared_near.frozen(size))


def mixed(run: Run) -> Run:
    """The run with half of its corruptor's samples, and half by frequency; the places are the same."""
    corruptor = Mixture.Config(Unigram.Config(rate=run.system.corruptor.rate), run.system.corruptor, HALF)
    return replace(run, system=replace(run.system, corruptor=corruptor))
