"""Electric: Pre-Training Transformers as Energy-Based Cloze Models (Clark et al., EMNLP 2020, 2012.08561)."""

from electrain.corruptors.cloze import Cloze
from electrain.corruptors.unigram import Unigram
from electrain.objectives.electric import Electric
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electric(size: Size = BASE) -> Run:
    """Electric: energies by noise-contrastive estimation, cloze noise (Clark et al., 2020, 2012.08561, section 2.3).

    Twice ELECTRA's share of the tokens is masked, half of it gets noise, and these places alone count: ours, for the
    paper's noise comes from two one-way Transformers, which know the probability of every token. The weight is
    ELECTRA's 50, sizes and training are ELECTRA's.

    electrain pretrain electric --data DIR --out RUN
    """
    cloze = Cloze.Config(rate=2 * size.rate, width=size.width, depth=size.depth)
    return size.run("electric", System.Config(size.encoder, cloze, Electric.Config(), weight=50.0))


def electric_unigram(size: Size = BASE) -> Run:
    """Electric with unigram noise; the proposal is ours (Clark et al., 2020, 2012.08561, section 2.3).

    The law is known exactly at every place, so that every token counts; the noise is easier to tell than a cloze
    model's.

    electrain pretrain electric_unigram --data DIR --out RUN
    """
    return size.run("electric_unigram", System.Config(size.encoder, Unigram.Config(rate=size.rate), Electric.Config()))
