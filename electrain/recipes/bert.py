"""BERT baselines as the ELECTRA paper trained them (Clark et al., 2020; Devlin et al., 2019, 1810.04805).

Masked LM alone, without next-sentence prediction.
"""

from electrain.corruptors.mask import Mask
from electrain.objectives.mlm import Mlm
from electrain.recipes.sizes import BASE, SMALL, Size
from electrain.run import Run
from electrain.system import System


def bert(size: Size = BASE) -> Run:
    """BERT's masked LM with 80/10/10, at any size (Devlin et al., 2019, section 3.1).

    Steps, batch and learning rate are those of ELECTRA at that size.

    electrain pretrain bert --data DIR --out RUN [--size small]
    """
    return size.run("bert", System.Config(size.encoder, Mask.Config(rate=size.rate), Mlm.Config()))


def bert_30(size: Size = BASE) -> Run:
    """BERT with 30 % of the tokens selected, as ModernBERT is trained (Warner et al., 2024, section 2.2).

    80/10/10 of them, which is ours, as in `bert`.

    electrain pretrain bert_30 --data DIR --out RUN [--size small]
    """
    return size.run("bert_30", System.Config(size.encoder, Mask.Config(rate=0.3), Mlm.Config()))


def bert_small(masked: float = 0.8, random: float = 0.1) -> Run:
    """BERT-Small of the ELECTRA paper (Clark et al., 2020, table 1): GLUE 75.1 after 1.45M steps, 4 days on one V100.

    Its embeddings are 128 wide and projected, so that it leaves for transformers as ElectraForMaskedLM.

    electrain pretrain bert_small --data DIR --out RUN
    """
    system = System.Config(SMALL.encoder, Mask.Config(masked=masked, random=random), Mlm.Config())
    return SMALL.run("bert_small", system, steps=1_450_000)


def bert_base(masked: float = 0.8, random: float = 0.1) -> Run:
    """BERT-Base of the ELECTRA paper (Clark et al., 2020, table 1): GLUE 82.2 after 1M steps of 256 rows of 512.

    electrain pretrain bert_base --data DIR --out RUN
    """
    system = System.Config(BASE.encoder, Mask.Config(masked=masked, random=random), Mlm.Config())
    return BASE.run("bert_base", system, steps=1_000_000)
