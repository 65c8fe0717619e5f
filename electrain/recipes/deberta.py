"""DeBERTaV3: ELECTRA with gradient-disentangled embedding sharing (He et al., ICLR 2023, 2111.09543)."""

from electrain.corruptors.joint import Joint
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.system import System


def electra_gdes(size: Size = BASE) -> Run:
    """ELECTRA with DeBERTaV3's disentangled token table (He et al., 2021, section 3, gradient-disentangled sharing).

    MNLI of DeBERTa-Base in the paper: MLM 86.3, RTD with shared embeddings 88.8, with none shared 88.3, disentangled
    89.3. Here the mechanism alone, on ELECTRA's encoder, generator and settings: DeBERTa's attention and data are not.

    electrain pretrain electra_gdes --data DIR --out RUN
    """
    joint = Joint.Config(rate=size.rate, width=size.width, depth=size.depth, tying="disentangled")
    return size.run("electra_gdes", System.Config(size.encoder, joint, Rtd.Config(), weight=50.0))
