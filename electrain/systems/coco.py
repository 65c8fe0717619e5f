"""COCO-LM: correct the damaged text, and tell it apart from other texts (Meng et al., NeurIPS 2021, 2102.08473)."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch
from electrain.cost import Shape, Work
from electrain.errors import UserError
from electrain.metrics import value
from electrain.randomness import Stream, drop, fold
from electrain.systems.base import Output
from electrain.systems.contrast import crop, crop_length, info_nce
from electrain.systems.pair import Pair
from electrain.vocab import Vocab


@final
class Coco(Pair):
    """A corruptor, an encoder, an objective; and the encoder's [CLS] vectors of two views of each text contrasted.

    The views are the damaged text, which the objective scores, and a crop of the text as it was (section 3.3).
    """

    @dataclass(frozen=True)
    class Config(Pair.Config):
        """The paper's pair is Joint and Corrective."""

        contrast: float = 1.0
        """Weight of the contrastive loss."""
        temperature: float = 1.0
        """Divides the cosines that are contrasted."""
        keep: float = 0.9
        """Share of a text that its cropped view keeps."""
        group: int = 32
        """Rows that are contrasted with each other; it must divide the rows that a process reads at once. Ours: the
        paper contrasts whatever batch a process has, so that its loss depends on the number of processes."""

        def __post_init__(self) -> None:
            if self.group < 2:
                raise UserError(f"contrast: group is {self.group}; a text needs another to differ from: at least 2")
            if not 0 < self.keep <= 1:
                raise UserError(f"contrast: keep is {self.keep}; it is a share, above 0 and at most 1")
            if self.temperature <= 0:
                raise UserError(f"contrast: temperature is {self.temperature}; choose a number above 0")

        def build(self, vocab: Vocab) -> "Coco":
            return Coco(self, vocab)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__(config, vocab)
        self.config, self.vocab = config, vocab

    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        config = self.config
        short = Shape(crop_length(length, config.keep), self.corruptor.selected(length), vocab_size)
        cosines = 2 * 2 * (2 * config.group) * self.encoder.width
        contrast = Work("contrast", cosines, cosines)
        return *self.cost_of_reading(length, vocab_size), *self.encoder.cost(short, "cropped view"), contrast

    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        config = self.config
        hidden, loss, metrics = self.read(batch, progress)
        view = crop(batch, config.keep, self.vocab)
        source = drop(fold(batch.key, Stream.VIEW), Stream.DISCRIMINATOR) if self.training else None
        other = self.encoder(view.ids, view.real, view.segments, drop=source)
        contrast, found = info_nce(hidden[:, 0], other[:, 0], config.temperature, config.group)
        loss = loss + config.contrast * contrast
        return Output(loss, {"loss": value(loss), **metrics, **found})
