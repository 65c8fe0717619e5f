"""ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators (Clark et al., ICLR 2020, 2003.10555).

One function a published run. Sizes and settings: table 6. GLUE: mean over the dev sets, as the paper has it.
"""

from dataclasses import replace
from typing import Literal

from electrain.corruptors.joint import Joint
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, LARGE, SMALL, Size
from electrain.run import Run
from electrain.system import System


def electra(size: Size = BASE) -> Run:
    """ELECTRA with a joint generator, at any size (Clark et al., 2020, section 2 and table 6).

    All tokens are judged, embeddings are shared, the discriminator's loss weighs 50. Tiny is ours.

    electrain pretrain electra --data DIR --out RUN [--size small]
    """
    joint = Joint.Config(rate=size.rate, width=size.width, depth=size.depth)
    return size.run("electra", System.Config(size.encoder, joint, Rtd.Config(), weight=50.0))


def electra_small(generator_width: float = 1 / 4) -> Run:
    """ELECTRA-Small (Clark et al., 2020, tables 1 and 6): GLUE 79.9 after 1M steps, 4 days on one V100.

    electrain pretrain electra_small --data DIR --out RUN
    """
    joint = Joint.Config(width=generator_width)
    return SMALL.run("electra_small", System.Config(SMALL.encoder, joint, Rtd.Config(), weight=50.0))


def electra_small_official() -> Run:
    """ELECTRA-Small as its official code runs it (Clark et al., 2020, section 3.3): GLUE 79.9 after 1M steps.

    Adam without bias correction; places drawn with replacement; the learning rate is the product of the warm-up and of
    a decay from step 0.

    electrain pretrain electra_small_official --data DIR --out RUN
    """
    run = electra_small()
    return replace(
        run,
        recipe="electra_small_official",
        system=replace(run.system, corruptor=Joint.Config(width=1 / 4, replacement=True)),
        optim=replace(run.optim, bias_correction=False, schedule="official"),
    )


def electra_small_plus() -> Run:
    """ELECTRA-Small++, the published checkpoint (Clark et al., 2020, appendix D): GLUE test 77.4 after 4M steps.

    Sequences of 512, XLNet's data; the figure is the official repository's. Batch and learning rate as ELECTRA-Small.

    electrain pretrain electra_small_plus --data DIR --out RUN
    """
    return replace(electra_small(), recipe="electra_small_plus", length=512, steps=4_000_000)


def electra_base(generator_width: float = 1 / 3) -> Run:
    """ELECTRA-Base (Clark et al., 2020, tables 1 and 6): GLUE 85.1 after 766K steps, 4 days on 16 TPUv3.

    electrain pretrain electra_base --data DIR --out RUN
    """
    joint = Joint.Config(width=generator_width)
    return BASE.run("electra_base", System.Config(BASE.encoder, joint, Rtd.Config(), weight=50.0))


def electra_large(steps: Literal[400_000, 1_750_000] = 400_000) -> Run:
    """ELECTRA-Large (Clark et al., 2020, section 3.4, table 2): GLUE 89.0 after 400K steps, 89.5 after 1.75M.

    electrain pretrain electra_large --data DIR --out RUN [--steps 1750000]
    """
    joint = Joint.Config(rate=LARGE.rate, width=LARGE.width)
    system = System.Config(LARGE.encoder, joint, Rtd.Config(), weight=50.0)
    return LARGE.run("electra_large", system, steps=steps)
