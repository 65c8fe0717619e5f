"""COCO-LM: correct the damaged text, and tell it apart from other texts (Meng et al., NeurIPS 2021, 2102.08473)."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, Reader
from electrain.corruptors.base import Corruptor
from electrain.cost import Shape, Work
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import Metrics
from electrain.objectives.base import Objective
from electrain.randomness import Stream, drop, fold
from electrain.source import Source
from electrain.systems.base import Output, Pretraining, Split
from electrain.systems.contrast import crop, crop_length, info_nce
from electrain.vocab import Vocab


@final
class Coco(Pretraining):
    """A corruptor, an encoder, an objective; and the encoder's [CLS] vectors of two views of each text contrasted.

    The views are the damaged text, which the objective scores, and a crop of the text as it was (section 3.3).
    """

    @dataclass(frozen=True)
    class Config(Pretraining.Config):
        """The paper's pair is Joint and Corrective."""

        encoder: Encoder.Config
        """The encoder that is being pre-trained."""
        corruptor: Corruptor.Config
        """What damages the text of the first view."""
        objective: Objective.Config
        """What is asked of the encoder about it."""
        weight: float = 1.0
        """Weight of the objective's loss beside the corruptor's own."""
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

        def check(self, length: int) -> None:
            super().check(length)
            self.corruptor.check(length)

        def resolve(self, source: Source) -> "Coco.Config":
            return replace(self, corruptor=self.corruptor.resolve(source))

        def reader(self, source: Source, packing: Packing) -> Reader | None:
            return self.corruptor.reader(source, packing)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config, self.vocab = config, vocab
        self.encoder = config.encoder.build(vocab)
        self.corruptor = config.corruptor.build(vocab, self.encoder)
        self.objective = config.objective.build(vocab, self.encoder)

    def start(self, source: Source) -> str:
        return self.corruptor.start(source, self.encoder)

    def beside(self, rows: int, length: int) -> tuple[Tensor, ...]:
        return self.corruptor.beside(rows, length)

    def before(self, step: int, seed: int) -> None:
        self.corruptor.before(step, seed)

    def variant(self) -> Hashable:
        return self.corruptor.variant()

    def after(self, step: int, metrics: Metrics) -> None:
        self.corruptor.after(step, metrics)

    def split(self) -> Split:
        return Split(self.encoder.embeddings, self.encoder, self.objective, self.corruptor)

    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        shape = Shape(length, self.corruptor.selected(length), vocab_size)
        aside = self.corruptor.cost(shape, self.encoder)
        view = self.encoder.cost(replace(shape, length=crop_length(length, self.config.keep)), "cropped view")
        cosines = 2 * 2 * (2 * self.config.group) * self.encoder.width
        contrast = Work("contrast", cosines, cosines)
        return *aside, *self.encoder.cost(shape), *self.objective.cost(shape, self.encoder), *view, contrast

    def forward(self, batch: Batch, progress: Float[Tensor, ""]) -> Output:
        config = self.config
        seen = self.corruptor(batch, self.encoder, progress)
        source = drop(batch.key, Stream.DISCRIMINATOR) if self.training else None
        hidden = self.encoder(seen.ids, batch.real, batch.segments, drop=source, delta=seen.delta)
        scored = self.objective(hidden, seen, batch, self.encoder)
        view = crop(batch, config.keep, self.vocab)
        source = drop(fold(batch.key, Stream.VIEW), Stream.DISCRIMINATOR) if self.training else None
        other = self.encoder(view.ids, view.real, view.segments, drop=source)
        contrast, found = info_nce(hidden[:, 0], other[:, 0], config.temperature, config.group)
        loss = seen.loss + config.weight * scored.loss + config.contrast * contrast
        metrics = {**seen.metrics, **scored.metrics, **found}
        if scored.logits is not None:
            learnt = self.corruptor.feedback(seen, scored.logits, batch)
            if learnt is not None:
                loss = loss + learnt.loss
                metrics |= learnt.metrics
        total = torch.stack([loss.detach().float(), torch.ones_like(loss, dtype=torch.float)])
        return Output(loss, {"loss": total, **metrics})
