"""Fast-ELECTRA's auxiliary, cached."""

from electrain.corruptors.cached import Cached
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

CASES = {"cached": Case(System.Config(ENCODER, Cached.Config(), Rtd.Config()))}
