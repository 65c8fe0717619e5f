"""ELECTRA in two stages: masked LM first, then replaced tokens from the frozen generator (Clark et al., ICLR 2020).

One command trains both: the first stage in OUT/first, whose options begin with --first (--first.steps, ...), then the
second, which takes the first's network for its generator.
"""

from dataclasses import replace

from electrain.corruptors.frozen import Frozen
from electrain.corruptors.mask import Mask
from electrain.curriculum import Schedule
from electrain.encoders.masked_lm import EncoderLm
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electra_two_stage(size: Size = BASE) -> Run:
    """Masked LM, then a discriminator started from that generator, which is frozen (Clark et al., 2020, section 3.2).

    The generator has the discriminator's size, or its weights would not fit. The paper trains each stage for n steps
    and found joint training better. Ours: n is half the size's steps; each stage has a warm-up and a decay of its own;
    the encoder is all that starts from the generator, the head is fresh.

    electrain pretrain electra_two_stage --data DIR --out RUN [--first.steps N --steps N]
    """
    half = max(1, size.steps // 2)
    optim = replace(size.optim, warmup=min(size.optim.warmup, half // 2))
    masked_lm = System.Config(size.encoder, Mask.Config(rate=size.rate, masked=0.85, random=0.0), Mlm.Config())
    frozen = Frozen.Config(
        generator=EncoderLm.Config(size.encoder),
        rate=size.rate,
        temperature=Schedule("constant", start=1.0),
        encoder_start="generator",
    )
    name = "electra_two_stage"
    return size.run(
        name,
        System.Config(size.encoder, frozen, Rtd.Config()),
        steps=half,
        optim=optim,
        first=size.run(name, masked_lm, steps=half, optim=optim),
    )


def electra_two_stage_fresh(size: Size = BASE) -> Run:
    """The two stages with a fresh discriminator, which may learn nothing (Clark et al., 2020, section 3.2).

    Against a generator that is far ahead, the paper's discriminator sometimes never left the majority class: it calls
    every token original. In all else `electra_two_stage`.

    electrain pretrain electra_two_stage_fresh --data DIR --out RUN
    """
    run = electra_two_stage(size)
    assert isinstance(run.system, System.Config) and isinstance(run.system.corruptor, Frozen.Config)
    system = replace(run.system, corruptor=replace(run.system.corruptor, encoder_start="fresh"))
    name = "electra_two_stage_fresh"
    first = run.first and replace(run.first, recipe=name)
    return replace(run, recipe=name, system=system, first=first)
