"""Recipes of compared_small.py at twice the learning rate: some post-LN discriminators fall to a constant."""

from dataclasses import replace

import compared_small

from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def mlm_15(size: Size = TINY) -> Run:
    """Masked LM, 15 % selected, 80/10/10."""
    return _twice(compared_small.mlm_15(size))


def joint(size: Size = TINY) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1."""
    return _twice(compared_small.joint(size))


def frozen(size: Size = TINY) -> Run:
    """Fast-ELECTRA, its generator trained first and frozen."""
    return _twice(compared_small.frozen(size))


def _twice(run: Run) -> Run:
    first = None if run.first is None else _twice(run.first)
    return replace(run, optim=replace(run.optim, lr=2 * run.optim.lr), first=first)
