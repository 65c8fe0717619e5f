"""No generator: near tokens, or noise (Kang et al., "Maximizing Efficiency of Language Model Pre-training", 2021).

GLUE here is the mean of table 1's eight tasks after 200,000 steps; its baseline, ELECTRA-Small, has 76.8 there. All
settings that the paper does not give (lambda 50, learning rate, warm-up and decay over these steps) are ELECTRA's.
"""

from electrain.corruptors.joint import Joint
from electrain.corruptors.nearest import Nearest
from electrain.corruptors.noise import Noise
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import SMALL, Size
from electrain.run import Run
from electrain.system import System


def emb_gen(size: Size = SMALL) -> Run:
    """Emb-Gen: tokens replaced by near ones (Kang et al., 2021, section 2, table 1): GLUE 66.2, 1.92 times the steps.

    The table is the encoder's own, from scratch. How many neighbours (10), how often they are found (every 100 steps)
    and the weight of the L2 loss (1 beside the discriminator's 50) are ours.

    electrain pretrain emb_gen --data DIR --out RUN
    """
    near = Nearest.Config(rate=size.rate)
    return size.run("emb_gen", _system(size, near), steps=min(size.steps, 200_000))


def emb_gen_pretrained(size: Size = SMALL) -> Run:
    """Emb-Gen from the token table of a trained ELECTRA (Kang et al., 2021, section 4, table 1): GLUE 68.9.

    The paper takes the embeddings of its ELECTRA-Small after 1M steps: here the first stage, trained by the same
    command. Ours: the encoder's table starts from it and goes on learning, and neighbours are found in it as it moves.

    electrain pretrain emb_gen_pretrained --data DIR --out RUN
    """
    joint = Joint.Config(rate=size.rate, width=size.width, depth=size.depth)
    electra = size.run("emb_gen_pretrained", System.Config(size.encoder, joint, Rtd.Config(), weight=50.0))
    near = Nearest.Config(source="", rate=size.rate)
    steps = min(size.steps, 200_000)
    return size.run("emb_gen_pretrained", _system(size, near), steps=steps, first=electra)


def embedding_noise(size: Size = SMALL) -> Run:
    """Noise on the embeddings, which is detected after 100 steps (Kang et al., 2021, section 2, figure 1).

    A check more than a method: `rtd_recall`, the accuracy on noised places, goes to 1 and nothing else is learnt. The
    noise is standard normal, which is ours.

    electrain pretrain embedding_noise --data DIR --out RUN --steps 200 --optim.warmup 20
    """
    noise = Noise.Config(rate=size.rate)
    return size.run("embedding_noise", _system(size, noise), steps=min(size.steps, 200_000))


def _system(size: Size, corruptor: Nearest.Config | Noise.Config) -> System.Config:
    return System.Config(size.encoder, corruptor, Rtd.Config(), weight=50.0)
