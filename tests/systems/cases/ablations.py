"""ELECTRA's ablations that have a shape of their own: copy gate, tying, sampling, two optimizers."""

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.curriculum import Schedule
from electrain.objectives.copy_mlm import CopyMlm
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.optim.decoupled import Decoupled
from electrain.system import System
from tests.systems.kit import Case
from tests.training import ENCODER


def electra(joint: Joint.Config, **run: object) -> Case:
    return Case(System.Config(ENCODER, joint, Rtd.Config(), weight=50.0), run=run)


CASES = {
    "all_tokens_mlm": Case(System.Config(ENCODER, Joint.Config(width=0.5), CopyMlm.Config())),
    "bert_no_random": Case(System.Config(ENCODER, Mask.Config(masked=0.85, random=0.0), Mlm.Config())),
    "untied": electra(Joint.Config(width=1.0, tying="none")),
    "tied": electra(Joint.Config(width=1.0, tying="all")),
    "disentangled": electra(Joint.Config(width=0.5, tying="disentangled")),
    "temperature": electra(Joint.Config(width=0.5, temperature=Schedule("linear", start=2.0))),
    "never_right": electra(Joint.Config(width=0.5, right="never")),
    "kept": electra(Joint.Config(width=0.5, kept=4, temperature=Schedule("linear", start=2.0))),
    "decoupled": electra(
        Joint.Config(width=0.5, tying="disentangled"),
        optim=Decoupled(Adam(lr=2e-3, warmup=20), Adam(lr=1e-3, warmup=10, schedule="cosine")),
    ),
}
