"""Replacements drawn without reading the text, and the hybrid that moves from them to a frozen generator's."""

from electrain.corruptors.base import Corruptor
from electrain.corruptors.frozen import FALLING, Frozen
from electrain.corruptors.mixture import Mixture
from electrain.corruptors.unigram import Unigram
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER


def _case(corruptor: Corruptor.Config) -> Case:
    return Case(System.Config(ENCODER, corruptor, Rtd.Config()), still=("corruptor.",))


CASES = {
    "unigram": _case(Unigram.Config()),
    "uniform": _case(Unigram.Config(law="uniform")),
    "tempered_unigram": _case(Unigram.Config(temperature=FALLING)),
    "hybrid": _case(Mixture.Config(Unigram.Config(), Frozen.Config())),
}
