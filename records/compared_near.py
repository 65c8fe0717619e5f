"""The recipes of compared.py on a modern encoder whose local layers see three tokens to each side.

Size modern-tiny: 4 layers, the second and the third local. Generators have one layer, which sees the whole row.
"""

import compared

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

WINDOW = 3


def mlm_15(size: Size = TINY) -> Run:
    """Masked LM, 15 % selected, 80/10/10."""
    return compared.mlm_15(size, WINDOW)


def mlm_30(size: Size = TINY) -> Run:
    """Masked LM, 30 % selected, 80/10/10."""
    return compared.mlm_30(size, WINDOW)


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1."""
    return compared.joint(size, WINDOW)


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its generator trained first and frozen."""
    return compared.frozen(size, WINDOW)


def cached(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache of proposals that `compared.py:cached` reads."""
    return compared.cached(size, WINDOW)
