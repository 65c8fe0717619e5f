"""What explains records/encoders: `cached` with other proposals or beginning far, `frozen` with a generator given."""

from dataclasses import replace

import compared
import compared_near

from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run


def exchanged(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache of the other encoder's generator."""
    run = compared.cached(size)
    other = "cache-modern" if isinstance(size.encoder, Bert.Config) else "cache-post-ln"
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, cache=other)))


def far(size: Size = TINY) -> Run:
    """Fast-ELECTRA from the cache, on a post-LN encoder whose heads do not start at their neighbours."""
    if not isinstance(size.encoder, Bert.Config):
        raise UserError("far: the size is a modern one; choose tiny")
    return compared.cached(replace(size, encoder=replace(size.encoder, attention_start="normal")))


def given(size: Size = TINY) -> Run:
    """Fast-ELECTRA with near places, its generator the one whose proposals `cached` reads, and as little charged."""
    if isinstance(size.encoder, Bert.Config):
        raise UserError("given: the size is a post-LN one; choose modern-tiny")
    return uncharged(compared_near.frozen(size), "modern/frozen-seed0/first")


def uncharged(run: Run, source: str) -> Run:
    """A run with a frozen generator, without the training of it."""
    corruptor = replace(run.system.corruptor, source=source, generator=None)
    return replace(run, recipe="given", system=replace(run.system, corruptor=corruptor), first=None)
