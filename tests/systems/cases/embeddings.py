"""Emb-Gen, from scratch and from a trained table, and noise on the embeddings."""

from electrain.corruptors.nearest import Nearest
from electrain.corruptors.noise import Noise
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER

SCRATCH, TRAINED = Nearest.Config(refresh=3), Nearest.Config(source="", refresh=3)
CASES = {
    "nearest": Case(System.Config(ENCODER, SCRATCH, Rtd.Config(), weight=50.0)),
    "nearest_pretrained": Case(System.Config(ENCODER, TRAINED, Rtd.Config(), weight=50.0)),
    "noise": Case(System.Config(ENCODER, Noise.Config(), Rtd.Config()), changed=False),
}
