"""Decoupled optimizers for generator and discriminator (Dong et al., ICML 2023, PMLR 202:8244-8259)."""

from dataclasses import replace

from electrain.corruptors.joint import Joint
from electrain.objectives.rtd import Rtd
from electrain.optim.decoupled import Decoupled
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electra_decoupled(generator_rate: float = 0.5, size: Size = BASE) -> Run:
    """ELECTRA with an optimizer for each of its two networks: the method of Dong et al., 2023, the values ours.

    Nothing is shared, so that the weight between the losses has no part and is 1. The generator's peak learning rate is
    half of the discriminator's: the paper's is not in our sources. With `--system.corruptor.tying disentangled` the
    token table is shared, and the optimizers stay apart.

    electrain pretrain electra_decoupled --data DIR --out RUN
    """
    joint = Joint.Config(rate=size.rate, width=size.width, depth=size.depth, tying="none")
    optim = Decoupled(size.optim, replace(size.optim, lr=size.optim.lr * generator_rate))
    return size.run("electra_decoupled", System.Config(size.encoder, joint, Rtd.Config()), optim=optim)
