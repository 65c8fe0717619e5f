"""mlm_15 and joint of compared.py on small's modern encoder, with steps that two CPU cores can make many of.

12 layers, 256 wide, as size modern-small; rows of 64, 16 a step, learning rate 1e-3, all else as at tiny: the
start 1/sqrt(fan-in), layers 2, 3, 5, 6, 8, 9, 11 and 12 see three tokens to each side. The generator is 64 wide.
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


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1."""
    return compared.joint(_grown(size), WINDOW)


def _grown(size: Size) -> Size:
    small = SIZES["modern-small"]
    assert isinstance(small.encoder, Modern.Config)
    encoder = replace(small.encoder, init="fan_in")
    optim = replace(size.optim, lr=1e-3)
    return replace(size, encoder=encoder, width=small.width, depth=small.depth, batch=16, optim=optim)
