"""Runs of minutes on two CPU cores: the quickstart's, and its BERT counterpart. Sizes and schedules are ours."""
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.encoders.bert import Bert
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim import Adam
from electrain.run import Run
from electrain.system import System

TINY = Bert.Config(layers=4, hidden=128, ffn=512, heads=2, embedding=128, positions=128)


def electra_tiny() -> Run:
    """The quickstart's ELECTRA, 2M parameters."""
    return Run(
        recipe="electra_tiny",
        system=System.Config(TINY, Joint.Config(width=1 / 2), Rtd.Config(), weight=50.0),
        steps=2_000,
        batch=64,
        length=64,
        optim=Adam(lr=1e-3, warmup=200),
        log_every=50,
        eval_every=500,
        save_every=500,
    )


def bert_tiny() -> Run:
    """The same encoder trained by masked LM, 80/10/10, for as many steps."""
    return Run(
        recipe="bert_tiny",
        system=System.Config(TINY, Mask.Config(), Mlm.Config()),
        steps=2_000,
        batch=64,
        length=64,
        optim=Adam(lr=1e-3, warmup=200),
        log_every=50,
        eval_every=500,
        save_every=500,
    )
