"""The systems' most used pair on the modern encoder, with Muon."""

from electrain.corruptors.joint import Joint
from electrain.encoders.modern import Modern
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.optim.muon import Muon
from electrain.system import System
from tests.systems.kit import Case

SIZES = Modern.Config(layers=2, hidden=32, ffn=48, heads=4, embedding=16, positions=16, window=3, global_every=2)
SYSTEM = System.Config(SIZES, Joint.Config(width=0.5, depth=0.5), Rtd.Config(), weight=50.0)
CASES = {"modern": Case(SYSTEM, run={"optim": Muon(Adam(lr=2e-3, warmup=5))})}
