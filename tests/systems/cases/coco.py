"""COCO-LM. The groups are of 4 rows: two processes with 4 rows each then contrast the same ones as one with 8."""

from electrain.corruptors.joint import Joint
from electrain.objectives.corrective import Corrective
from electrain.system import System
from electrain.systems.coco import Coco
from tests.systems.kit import Case
from tests.training import ENCODER

JOINT = Joint.Config(width=0.5)
CASES = {
    "coco": Case(Coco.Config(ENCODER, JOINT, Corrective.Config(), group=4)),
    "corrective_all": Case(System.Config(ENCODER, JOINT, Corrective.Config(places="all"))),
}
