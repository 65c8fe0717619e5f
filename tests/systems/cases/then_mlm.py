"""The second of two stages: masked LM over an encoder that was pre-trained before."""

from electrain.corruptors.mask import Mask
from electrain.objectives.mlm import Mlm
from electrain.system import System
from tests.systems.kit import GENERATOR, Case

CASES = {"then_mlm": Case(System.Config(GENERATOR.encoder, Mask.Config(encoder_start="first"), Mlm.Config()))}
