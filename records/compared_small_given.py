"""`frozen` of compared_small.py with a generator that it need not pay: the one whose proposals `cached` reads."""

import compared_small
import compared_why

from electrain.encoders.bert import Bert
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def given(size: Size = TINY) -> Run:
    """Fast-ELECTRA whose generator is charged as little as a cache's."""
    folder = "post-ln" if isinstance(size.encoder, Bert.Config) else "near"
    return compared_why.uncharged(compared_small.frozen(size), f"{folder}/frozen-seed0/first")
