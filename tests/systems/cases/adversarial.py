"""The generator that learns from the discriminator's verdict."""

from electrain.corruptors.adversarial import Adversarial
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

CASES = {
    "adversarial": Case(System.Config(ENCODER, Adversarial.Config(width=0.5), Rtd.Config(), weight=50.0)),
    "adversarial_untied": Case(System.Config(ENCODER, Adversarial.Config(width=0.5, tying="none"), Rtd.Config())),
}
