"""ELECTRA, two of its ablations, and BERT."""

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

JOINT = Joint.Config(width=0.5)
CASES = {
    "electra": Case(System.Config(ENCODER, JOINT, Rtd.Config(), weight=50.0)),
    "electra_15": Case(System.Config(ENCODER, JOINT, Rtd.Config("selected"), weight=50.0)),
    "replace_mlm": Case(System.Config(ENCODER, JOINT, Mlm.Config())),
    "bert": Case(System.Config(ENCODER, Mask.Config(), Mlm.Config())),
}
