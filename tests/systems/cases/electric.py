"""Electric with both proposals."""

from electrain.corruptors.cloze import Cloze
from electrain.corruptors.unigram import Unigram
from electrain.objectives.electric import Electric
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

UNIGRAM = System.Config(ENCODER, Unigram.Config(), Electric.Config())
CLOZE = System.Config(ENCODER, Cloze.Config(width=0.5), Electric.Config(), weight=50.0)
CASES = {"electric_unigram": Case(UNIGRAM), "electric": Case(CLOZE)}
