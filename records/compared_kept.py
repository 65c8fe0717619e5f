"""compared_near.py with the generator's 64 likeliest tokens as it has them, and the rest of its mass by frequency.

With --size tiny it is compared.py that is so changed.
"""

from dataclasses import replace

import compared_near

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

KEPT = 64


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose tail is drawn by frequency."""
    return kept(compared_near.joint(size))


def kept(run: Run) -> Run:
    """The same run with that sampling."""
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, kept=KEPT)))
