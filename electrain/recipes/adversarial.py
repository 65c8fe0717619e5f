"""ELECTRA with a generator trained against the discriminator (Clark et al., ICLR 2020, appendix F)."""

from electrain.corruptors.adversarial import Adversarial
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electra_adversarial(size: Size = BASE) -> Run:
    """ELECTRA whose generator learns by REINFORCE with a learned baseline (Clark et al., 2020, appendix F).

    Published: GLUE above BERT and below ELECTRA's maximum likelihood; the generator gets 58 % of the masked tokens
    right against 65 %, and its samples have little entropy. The settings are `electra_base`'s, by our choice, as is all
    that `Adversarial` calls ours.

    electrain pretrain electra_adversarial --data DIR --out RUN
    """
    corruptor = Adversarial.Config(rate=size.rate, width=size.width, depth=size.depth)
    return size.run("electra_adversarial", System.Config(size.encoder, corruptor, Rtd.Config(), weight=50.0))
