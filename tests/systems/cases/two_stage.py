"""The second of two stages: encoder and frozen generator start as one network."""

from electrain.corruptors.frozen import Frozen
from electrain.curriculum import Schedule
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import GENERATOR, Case

FROZEN = Frozen.Config(temperature=Schedule(), encoder_start="generator")
CASES = {"two_stage": Case(System.Config(GENERATOR.encoder, FROZEN, Rtd.Config()), still=("corruptor.",))}
