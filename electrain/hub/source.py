"""Where a new run finds what its configuration only names: a data folder, runs of ours, transformers folders."""

from pathlib import Path
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor

from electrain.cache.read import Cache
from electrain.data import frequencies
from electrain.encoders.base import Encoder, plain
from electrain.errors import UserError
from electrain.source import MaskedLm, Proposals, Source


@final
class Folders(Source):
    """A data folder; and, for a second stage, the run of the first."""

    def __init__(self, data: Path, first: Path | None = None):
        self.data = Path(data)
        self.first = first

    def frequencies(self) -> Int[Tensor, " v"]:
        return torch.from_numpy(frequencies.load(self.data))

    def masked_lm(self, place: str) -> MaskedLm:
        # Imported where it is used: the training path does without transformers.
        from electrain.hub.masked_lm import load

        if not place and self.first is None:
            raise UserError(
                "corruptor: name the frozen generator with --system.corruptor.source: a run of ours, a folder that "
                "transformers loads, or a name on the Hub"
            )
        return load(place or str(self.first), self.data / "tokenizer")

    def encoder(self) -> Encoder:
        # Imported where it is used, as above.
        from electrain.hub.opened import opened

        if self.first is None:
            raise UserError(
                "corruptor: encoder_start first needs a stage before this run, and there is none; choose the recipe "
                "electra_then_mlm, or --system.corruptor.encoder-start fresh"
            )
        return plain(opened(self.first).encoder)

    def proposals(self, place: str) -> Proposals:
        if not place:
            raise UserError(
                "corruptor: name the cache of the generator's proposals with --system.corruptor.cache DIR; "
                f"make one with: electrain cache RUN --data {self.data} --out DIR"
            )
        return Cache(Path(place).expanduser())
