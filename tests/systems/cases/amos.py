"""AMOS with two exits."""

from electrain.corruptors.amos import Amos
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

CASES = {"amos": Case(System.Config(ENCODER, Amos.Config(exits=(1, 2)), Rtd.Config(), weight=50.0))}
