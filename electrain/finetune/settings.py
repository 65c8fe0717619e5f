"""What a person can choose of fine-tuning, and the papers' settings by size."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from electrain.compute import Compute
from electrain.encoders.base import Encoder
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.finetune.heads import Kind
from electrain.optim.adam import Adam
from electrain.optim.layerwise import Layerwise


class Paper(NamedTuple):
    """Peak learning rate and layer-wise decay of a size (ELECTRA, appendix B)."""

    lr: float
    decay: float


SMALL, BASE, LARGE = Paper(3e-4, 0.8), Paper(1e-4, 0.8), Paper(5e-5, 0.9)


def paper(width: int) -> Paper:
    """The paper's settings for an encoder by the width of its layers: Small up to 256, Base up to 768, Large above."""
    return SMALL if width <= 256 else BASE if width <= 768 else LARGE


@dataclass(frozen=True)
class Finetune:
    """Fine-tune a pre-trained encoder on a task, and judge it. On a folder with results in it, go on from there."""

    model: str
    """A run's folder, or a folder or Hub name that transformers loads as an ELECTRA, BERT or ModernBERT."""
    out: Path
    """Folder of the results: OUT/TASK/results.jsonl, summary.json, a folder for every seed."""
    data: str = ""
    """Where the task's data lie: a folder, a file, or a name on the Hub; for GLUE and SQuAD their own Hub data sets
    where nothing is named."""
    train: tuple[Path, ...] = ()
    """Files to train on, one after another, instead of those found in the data folder."""
    dev: Path | None = None
    """File to be judged on, instead of the one found."""
    seeds: int = 1
    """Fine-tunings from the one checkpoint, seeds 0, 1, 2, ...; more may be asked for later."""
    untrained: bool = False
    """Start from fresh weights of the same architecture: the yardstick for what pre-training gave."""
    checkpoint: str = "latest"
    """Of a run: latest, best (lowest held-out loss), or a step."""
    head: Kind | None = None
    """Of sentence tasks. Dense: a layer, GELU and a layer at [CLS], as in transformers; linear: the paper's one
    layer there; mean: as dense, from the mean of all tokens. Dense unless said, and mean over a modern encoder."""
    length: int | None = None
    """Longest row in tokens; 128, and 512 for SQuAD, unless said (or as many as the encoder has)."""
    epochs: float | None = None
    """Passes over the training rows; as the paper has them for the task: 3, 10 for RTE and STS-B, 2 for SQuAD."""
    batch: int = 32
    """Rows of an update."""
    lr: float | None = None
    """Peak learning rate; as the paper has it for the size: 3e-4 Small, 1e-4 Base, 5e-5 Large."""
    decay: float | None = None
    """Layer-wise decay of the learning rate; as the paper has it: .8, and .9 for Large."""
    warmup: float = 0.1
    """Share of the updates over which the learning rate rises."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    dropout: float = 0.1
    """Of the encoder and the head."""
    clip: float = 1.0
    """Largest global norm of the gradient."""
    bias_correction: bool = True
    """Adam's bias correction. The official code has none; small tasks then fail more often (Mosbach et al., 2021)."""
    keep: Literal["best", "all", "none"] = "best"
    """Whose fine-tuned models stay: of the best seed by the judged split, of all, of none."""
    text: str = ""
    """Own table: column of the (first) text; found by common names unless said."""
    second: str = ""
    """Own table: column of the second text of a pair."""
    label: str = ""
    """Own table: column of the label or number; of CoNLL files, number of the tag's column from 1."""
    save_minutes: float = 5.0
    """Minutes between checkpoints of a fine-tuning."""
    compute: Compute = field(default_factory=Compute)
    """Device, number format, compilation (of fine-tunings of 300 steps and more, which it pays for)."""

    def __post_init__(self) -> None:
        for name in ("seeds", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"finetune: {name} is {getattr(self, name)}; choose 1 or more")
        if self.length is not None and self.length < 8:
            raise UserError(f"finetune: length is {self.length}; choose 8 or more")
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise UserError(f"finetune: epochs is {self.epochs}; choose a number above 0")
        for name in ("warmup", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"finetune: {name} is {getattr(self, name)}; it is a share, from 0 to below 1")
        if self.decay is not None and not 0 < self.decay <= 1:
            raise UserError(f"finetune: decay is {self.decay}; choose from above 0 to 1")

    def head_over(self, encoder: Encoder) -> Kind:
        """The head over an encoder; where nothing is said, that of its family's published models."""
        return self.head or ("mean" if isinstance(encoder, Modern) else "dense")

    def optim(self, width: int, steps: int) -> Layerwise:
        """The optimizer of `steps` updates, with the paper's settings for an encoder's width where nothing is said."""
        theirs = paper(width)
        adam = Adam(
            lr=theirs.lr if self.lr is None else self.lr,
            warmup=round(self.warmup * steps),
            weight_decay=self.weight_decay,
            clip=self.clip,
            bias_correction=self.bias_correction,
        )
        return Layerwise(adam, theirs.decay if self.decay is None else self.decay)
