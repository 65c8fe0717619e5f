"""Runs of minutes to an hour on two CPU cores: the quickstart's, its BERT counterpart, and a Small. Settings are ours.

In so few tokens the usual start never leaves the unigram level (docs/LOG.md): here matrices start at 1/sqrt(fan-in),
positions as sinusoids, heads at their neighbours, nothing is dropped, Adam's second beta is 0.98. The generator is half
as wide and shallow: a stronger one leaves the discriminator behind (docs/LOG.md). Its samples are drawn at a
temperature that falls from 2 to 1, after Fast-ELECTRA's curriculum (Dong et al., 2024): that halves the steps. Those of
`electra_tiny` go by frequency beyond 64 tokens a place: it finds more words for that (records/kept), and is worse to
fine-tune (records/encoders_long), so that `electra_modern_tiny`, which is for longer runs too, has them as they are.
"""

from dataclasses import replace

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.curriculum import Schedule
from electrain.encoders.bert import Bert
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.recipes.sizes import SIZES, TINY, Size
from electrain.run import Run
from electrain.system import System

HOUR = Bert.Config(
    dropout=0.0, attention_dropout=0.0, init="fan_in", position_start="sinusoid", attention_start="local"
)


def electra_tiny() -> Run:
    """The quickstart's ELECTRA, some minutes on two CPU cores; ours. AUC on held-out documents: records/quickstart."""
    return _electra("electra_tiny", TINY, kept=64)


def electra_modern_tiny() -> Run:
    """`electra_tiny` on the modern encoder, as long, its learning rate up until the last fifth; ours. It finds more.

    Two of its four layers see three tokens to each side (docs/encoders.md). Two seeds: records/five_minutes.
    """
    size = SIZES["modern-tiny"]
    return _electra("electra_modern_tiny", replace(size, optim=replace(size.optim, schedule="wsd")), kept=0)


def bert_tiny() -> Run:
    """The quickstart's encoder trained by masked LM, 80/10/10, for as many steps; ours."""
    return replace(electra_tiny(), recipe="bert_tiny", system=System.Config(TINY.encoder, Mask.Config(), Mlm.Config()))


def electra_small_hour() -> Run:
    """ELECTRA-Small's encoder for an hour on two CPU cores, 10M tokens; ours. A third: records/electra_small_hour.

    At lr 1e-3 the discriminator fell to a constant at step 200 (docs/LOG.md).
    """
    return Run(
        recipe="electra_small_hour",
        system=System.Config(HOUR, Joint.Config(width=1 / 2, depth=1 / 3), Rtd.Config(), weight=50.0),
        steps=2_400,
        batch=32,
        length=128,
        optim=Adam(lr=4e-4, warmup=240, betas=(0.9, 0.98)),
        log_every=20,
        eval_every=200,
        eval_rows=256,
        save_every=200,
        save_minutes=5.0,
    )


def _electra(name: str, size: Size, kept: int) -> Run:
    joint = Joint.Config(width=size.width, depth=size.depth, temperature=Schedule("linear", 2.0, 1.0), kept=kept)
    return size.run(name, System.Config(size.encoder, joint, Rtd.Config(), weight=50.0), steps=1_200)
