"""AMOS: Pretraining Text Encoders with Adversarial Mixture of Training Signal Generators (ICLR 2022, 2204.03243)."""

from electrain.corruptors.amos import Amos
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def amos(size: Size = BASE) -> Run:
    """AMOS: a generator with three exits, mixed adversarially (Meng et al., 2022, section 3).

    Exits at a third, a half and two thirds of the encoder's height: 4, 6, 8 at Base, as published. Width, temperature,
    reversal and lambda 50 are the official code's. Ours, as ELECTRA's at this size: learning rate, batch, steps, the
    head of the discriminator, absolute positions where the paper has relative ones.

    electrain pretrain amos --data DIR --out RUN
    """
    height = size.encoder.layers
    exits = tuple(sorted({max(1, round(height * share)) for share in (1 / 3, 1 / 2, 2 / 3)}))
    corruptor = Amos.Config(exits=exits, rate=size.rate)
    return size.run("amos", System.Config(size.encoder, corruptor, Rtd.Config(), weight=50.0))
