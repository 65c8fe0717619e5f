"""The recipes of compared.py on a modern encoder whose local layers see three tokens to each side.

Size modern-tiny: 4 layers, the second and the third local. Generators have one layer, which sees the whole row.
"""

import importlib.util
from pathlib import Path

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

WINDOW = 3

_spec = importlib.util.spec_from_file_location("compared", Path(__file__).parent / "compared.py")
assert _spec and _spec.loader
_compared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_compared)


def mlm_15(size: Size = TINY) -> Run:
    """Masked LM, 15 % selected, 80/10/10."""
    return _compared.mlm_15(size, WINDOW)


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1; its windows are as narrow."""
    return _compared.joint(size, WINDOW)


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its generator (windows as narrow) trained first and frozen."""
    return _compared.frozen(size, WINDOW)


def cached(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache of proposals that `compared.py:cached` reads."""
    return _compared.cached(size, WINDOW)
