"""COCO-LM: Correcting and Contrasting Text Sequences for Pretraining (Meng et al., NeurIPS 2021, 2102.08473)."""

from electrain.corruptors.joint import Joint
from electrain.objectives.corrective import Corrective
from electrain.recipes.sizes import BASE, Size
from electrain.run import Run
from electrain.systems.coco import Coco


def coco_lm(size: Size = BASE) -> Run:
    """COCO-LM's corrective LM and sequence contrast (Meng et al., 2021, sections 3.2 and 3.3).

    The generator has the encoder's width and few layers (4 of 12 at Base); the copy gate's loss weighs 50, the cropped
    view keeps 90 %, the contrast has temperature 1: the official code's values. Ours are the group of 32 rows that are
    contrasted, and the rest, which is ELECTRA's at this size: learning rate, batch, steps, absolute positions where the
    paper has relative ones. The generator samples in the pass that trains it, with its dropout; the official code
    samples without, in a second one.

    electrain pretrain coco_lm --data DIR --out RUN
    """
    joint = Joint.Config(rate=size.rate, width=1.0, depth=size.auxiliary / size.encoder.layers)
    return size.run("coco_lm", Coco.Config(size.encoder, joint, Corrective.Config(), group=32))
