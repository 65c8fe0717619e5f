"""Maximizing Efficiency of Language Model Pre-training for Learning Representation (Kang et al., 2021, 2110.06620).

Its figures are of ELECTRA-Small after 200K steps, one seed; GLUE here is the plain mean of table 1's eight tasks: 76.8
for the paper's own baseline, at 2.4 steps a second.
"""

from typing import Literal

from electrain.corruptors.early_exit import EarlyExit
from electrain.corruptors.exit_rule import ExitRule
from electrain.corruptors.joint import Joint
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import SMALL, Size
from electrain.run import Run
from electrain.system import System
from electrain.systems import early_exit

STEPS = 200_000
ALPHA = {"paper": 0.1, "log-space": 10.0, "set-point": 10.0}


def adaptive_early_exit(size: Size = SMALL, rule: Literal["paper", "log-space", "set-point"] = "paper") -> Run:
    """Adaptive Early-Exit (Gen) (Kang et al., 2021, table 1): GLUE 77.0 at 2.75 steps a second, 1.15 times ELECTRA's.

    The rule is the published one; the two others are ours, as are the scale alpha (the paper prints no value; 0.1 is
    the one behind its example), the weights of the exits' losses and the form of the joins. Size, learning rate and
    batch are ELECTRA-Small's; a larger size has its exits at the quarters of its height.

    electrain pretrain adaptive_early_exit --data DIR --out RUN
    """
    corruptor = EarlyExit.Config(
        rate=size.rate, width=size.width, exits=_quarters(size), rule=ExitRule(rule, alpha=ALPHA[rule])
    )
    system = System.Config(size.encoder, corruptor, Rtd.Config(), weight=50.0)
    return size.run("adaptive_early_exit", system, steps=min(STEPS, size.steps))


def early_exit_discriminator(size: Size = SMALL) -> Run:
    """Early-Exit (Disc) (Kang et al., 2021, table 1): GLUE 73.9 at 3.1 steps a second, 1.29 times ELECTRA's.

    Batch-level exits, the measuring steps and the loss over all sections that were run are our choice (the paper does
    not say). The generator is the encoder itself, as published; at its full width it costs more than the quarter-width
    one that it replaces, and by the count of operations no exit can then give the printed speed.

    electrain pretrain early_exit_discriminator --data DIR --out RUN
    """
    joint = Joint.Config(rate=size.rate, width=1.0, tying="all")
    system = early_exit.EarlyExit.Config(size.encoder, joint, exits=_quarters(size))
    return size.run("early_exit_discriminator", system, steps=min(STEPS, size.steps))


def _quarters(size: Size) -> tuple[int, ...]:
    layers = size.encoder.layers
    return tuple(layers * part // 4 for part in (1, 2, 3, 4))
