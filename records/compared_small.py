"""The recipes of compared.py on small's encoders, with steps that two CPU cores can make many of.

12 layers, 256 wide, as the sizes small (--size tiny) and modern-small (--size modern-tiny); rows of 64, 16 a step, the
rest as at tiny. The modern one's layers 2, 3, 5, 6, 8, 9, 11 and 12 see three tokens to each side; its learning rate is
1e-3, the post-LN one's 2e-4: at twice that some of its discriminators fall to a constant (compared_small_twice.py).
"""

from dataclasses import replace

import compared

from electrain.encoders.modern import Modern
from electrain.recipes.sizes import SIZES, TINY, Size
from electrain.run import Run

WINDOW = 3


def mlm_15(size: Size = TINY) -> Run:
    """Masked LM, 15 % selected, 80/10/10."""
    return compared.mlm_15(_grown(size), WINDOW)


def mlm_30(size: Size = TINY) -> Run:
    """Masked LM, 30 % selected, 80/10/10."""
    return compared.mlm_30(_grown(size), WINDOW)


def joint(size: Size = TINY, window: int = WINDOW) -> Run:
    """ELECTRA with a joint generator, a quarter as wide and as deep, whose temperature falls from 2 to 1."""
    return compared.joint(_grown(size), window)


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its generator (four layers of the encoder's width) trained first and frozen."""
    return compared.frozen(_grown(size), WINDOW)


def cached(size: Size = TINY) -> Run:
    """Fast-ELECTRA from a cache of proposals."""
    return compared.cached(_grown(size), WINDOW)


def _grown(size: Size) -> Size:
    """Its encoder at Small's measures, with the start that it has."""
    modern = isinstance(size.encoder, Modern.Config)
    small = SIZES["modern-small" if modern else "small"]
    names = ("layers", "hidden", "ffn", "heads", "embedding")
    encoder = replace(size.encoder, **{name: getattr(small.encoder, name) for name in names})
    optim = replace(size.optim, lr=1e-3 if modern else 2e-4)
    return replace(
        size, encoder=encoder, width=small.width, depth=small.depth, auxiliary=small.auxiliary, batch=16, optim=optim
    )
