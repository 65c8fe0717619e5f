"""Fast-ELECTRA's frozen generator."""

from electrain.corruptors.frozen import Frozen
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

CASES = {"frozen": Case(System.Config(ENCODER, Frozen.Config(), Rtd.Config()), still=("corruptor.",))}
