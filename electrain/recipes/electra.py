"""ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators (Clark et al., ICLR 2020, 2003.10555).

One function a published run. Sizes and settings: table 6. GLUE: mean over the dev sets, as the paper has it.
"""

from dataclasses import replace
from typing import Literal

from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.objectives.rtd import Rtd
from electrain.optim import Adam
from electrain.run import Run
from electrain.system import System

SMALL = Bert.Config()
BASE = Bert.Config(layers=12, hidden=768, ffn=3072, heads=12, embedding=768)
LARGE = Bert.Config(layers=24, hidden=1024, ffn=4096, heads=16, embedding=1024)


def electra_small(generator_width: float = 1 / 4) -> Run:
    """ELECTRA-Small (Clark et al., 2020, tables 1 and 6): GLUE 79.9 after 1M steps, 4 days on one V100.

    electrain pretrain electra_small --data DIR --out RUN
    """
    return Run(
        recipe="electra_small",
        system=System.Config(SMALL, Joint.Config(width=generator_width), Rtd.Config(), weight=50.0),
        steps=1_000_000,
        batch=128,
        length=128,
        optim=Adam(lr=5e-4, warmup=10_000),
    )


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
    return Run(
        recipe="electra_base",
        system=System.Config(BASE, Joint.Config(width=generator_width), Rtd.Config(), weight=50.0),
        steps=766_000,
        batch=256,
        length=512,
        optim=Adam(lr=2e-4, warmup=10_000),
    )


def electra_large(steps: Literal[400_000, 1_750_000] = 400_000) -> Run:
    """ELECTRA-Large (Clark et al., 2020, section 3.4, table 2): GLUE 89.0 after 400K steps, 89.5 after 1.75M.

    electrain pretrain electra_large --data DIR --out RUN [--steps 1750000]
    """
    return Run(
        recipe="electra_large",
        system=System.Config(LARGE, Joint.Config(rate=0.25, width=1 / 4), Rtd.Config(), weight=50.0),
        steps=steps,
        batch=2048,
        length=512,
        optim=Adam(lr=2e-4, warmup=10_000),
    )
