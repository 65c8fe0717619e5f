"""The recipes of records/encoders: every one at any size, with the settings of training of `electra_modern_tiny`.

    electrain study ladder --data DATA --out STUDY --recipes records/compared.py:mlm_15 records/compared.py:mlm_30 ...

1,200 steps (a budget stretches them), a warm-up of an eighth of them, learning rate up until the last fifth. A frozen
generator has one layer of the encoder's width and is trained first, for half as many steps; that counts as the run's.
`cached` reads what `electrain cache` kept of such a generator, in the folder cache-modern or cache-post-ln.

window: what the modern encoder's local layers see; 64 is ModernBERT's, and the whole of a row of tiny.
"""

from dataclasses import replace

from electrain.corruptors.cached import Cached
from electrain.corruptors.frozen import Frozen
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.curriculum import Schedule
from electrain.encoders.masked_lm import EncoderLm
from electrain.encoders.modern import Modern
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import TINY, Size
from electrain.run import Run
from electrain.system import System

STEPS = 1_200
FALLING = Schedule("linear", 2.0, 1.0)


def mlm_15(size: Size = TINY, window: int = 64) -> Run:
    """Masked LM, 15 % selected, 80/10/10."""
    size = _seeing(size, window)
    return _run("mlm_15", size, System.Config(size.encoder, Mask.Config(rate=0.15), Mlm.Config()))


def mlm_30(size: Size = TINY, window: int = 64) -> Run:
    """Masked LM, 30 % selected, 80/10/10."""
    size = _seeing(size, window)
    return _run("mlm_30", size, System.Config(size.encoder, Mask.Config(rate=0.3), Mlm.Config()))


def joint(size: Size = TINY, window: int = 64) -> Run:
    """ELECTRA with a joint generator whose temperature falls from 2 to 1."""
    size = _seeing(size, window)
    generator = Joint.Config(width=size.width, depth=size.depth, temperature=FALLING)
    return _run("joint", size, System.Config(size.encoder, generator, Rtd.Config(), weight=50.0))


def frozen(size: Size = TINY, window: int = 64) -> Run:
    """Fast-ELECTRA, its generator trained first and frozen; the temperature falls from 2 to 1 likewise."""
    size = _seeing(size, window)
    before = System.Config(size.generator(), Mask.Config(masked=0.85, random=0.0), Mlm.Config())
    generator = Frozen.Config(generator=EncoderLm.Config(size.generator()), temperature=FALLING)
    run = _run("frozen", size, System.Config(size.encoder, generator, Rtd.Config()))
    return replace(run, first=_run("frozen", size, before, steps=STEPS // 2))


def cached(size: Size = TINY, window: int = 64) -> Run:
    """Fast-ELECTRA from a cache of proposals."""
    size = _seeing(size, window)
    cache = "cache-modern" if isinstance(size.encoder, Modern.Config) else "cache-post-ln"
    kept = Cached.Config(cache=cache, temperature=FALLING)
    return _run("cached", size, System.Config(size.encoder, kept, Rtd.Config()))


def _seeing(size: Size, window: int) -> Size:
    if isinstance(size.encoder, Modern.Config):
        size = replace(size, encoder=replace(size.encoder, window=window))
    return size


def _run(name: str, size: Size, system: System.Config, steps: int = STEPS) -> Run:
    return size.run(name, system, steps=steps, optim=replace(size.optim, schedule="wsd", warmup=steps // 8))
