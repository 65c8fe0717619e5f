"""What explains records/encoders: `cached` with the other encoder's proposals, or on a post-LN one that begins far."""

import importlib.util
from dataclasses import replace
from pathlib import Path

from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run

_spec = importlib.util.spec_from_file_location("compared", Path(__file__).parent / "compared.py")
assert _spec and _spec.loader
_compared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_compared)


def exchanged(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache of the other encoder's generator."""
    run = _compared.cached(size)
    other = "cache-modern" if isinstance(size.encoder, Bert.Config) else "cache-post-ln"
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, cache=other)))


def far(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache, on a post-LN encoder whose heads do not start at their neighbours."""
    if not isinstance(size.encoder, Bert.Config):
        raise UserError("far: the size is a modern one; choose tiny")
    return _compared.cached(replace(size, encoder=replace(size.encoder, attention_start="normal")))
