"""compared_small.py with the generator's 64 likeliest tokens as it has them, and the rest of its mass by frequency."""

import compared_kept
import compared_small

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose tail is drawn by frequency."""
    return compared_kept.kept(compared_small.joint(size))
