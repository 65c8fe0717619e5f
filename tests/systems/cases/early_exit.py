"""Adaptive Early-Exit of the generator under each rule, and Early-Exit of the discriminator."""

from dataclasses import replace

from electrain.corruptors.early_exit import EarlyExit
from electrain.corruptors.exit_rule import ExitRule
from electrain.encoders.bert import Bert
from electrain.objectives.rtd import Rtd
from electrain.system import System
from electrain.systems import early_exit
from tests.systems.kit import Case
from tests.training import ENCODER

DEEP = replace(ENCODER, layers=4)
DISCRIMINATOR = early_exit.EarlyExit.Config(DEEP, exits=(1, 2, 3, 4), every=4, measured=2)


def generator(encoder: Bert.Config, rule: ExitRule) -> System.Config:
    """ELECTRA with a generator that can be left after each layer, as likely as not: the contract wants to see each."""
    exits = tuple(range(1, encoder.layers + 1))
    rule = replace(rule, start=(1 / encoder.layers,) * encoder.layers, every=3)
    return System.Config(encoder, EarlyExit.Config(width=0.5, exits=exits, rule=rule), Rtd.Config(), weight=50.0)


STEPS = tuple(range(8))
CASES = {
    "early_exit_paper": Case(generator(DEEP, ExitRule("paper")), steps=STEPS),
    "early_exit_log_space": Case(generator(ENCODER, ExitRule("log-space", alpha=10.0))),
    "early_exit_set_point": Case(generator(ENCODER, ExitRule("set-point", alpha=1.0, target=0.9))),
    "early_exit_discriminator": Case(DISCRIMINATOR),
}
