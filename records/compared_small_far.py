"""`joint` of compared_small.py with ModernBERT's window: in rows of 64 every layer sees the whole row."""

import compared_small

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

WINDOW = 64


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1."""
    return compared_small.joint(size, WINDOW)
