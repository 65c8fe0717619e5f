"""Fast-ELECTRA's frozen generator, and its three ways to smooth what it proposes."""

from electrain.corruptors.frozen import Frozen
from electrain.curriculum import ONE, Schedule
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

DROPOUT = Frozen.Config(temperature=ONE, dropout=Schedule("linear", start=0.5, end=0.0))
RATE = Frozen.Config(temperature=ONE, rate=0.3, selection=Schedule("linear", start=1.0, end=0.5))


def _case(corruptor: Frozen.Config) -> Case:
    return Case(System.Config(ENCODER, corruptor, Rtd.Config()), still=("corruptor.",))


CASES = {
    "frozen": _case(Frozen.Config()),
    "frozen_dropout": _case(DROPOUT),
    "frozen_rate": _case(RATE),
    "frozen_kept": _case(Frozen.Config(kept=4)),
}
