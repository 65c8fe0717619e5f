"""Fast-ELECTRA's corruption without its generator: what that proposed was kept, and is sampled at any temperature."""

from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from electrain.batch import Batch, Reader, Selection, scatter
from electrain.cache.temper import Entry, draw
from electrain.corruptors.base import Corrupted, Corruptor
from electrain.corruptors.frozen import FALLING
from electrain.curriculum import Schedule
from electrain.data.examples import Packing
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.metrics import mean, value
from electrain.randomness import Stream, uniform
from electrain.source import READ, Source
from electrain.tail import shares
from electrain.vocab import Vocab


@final
class Cached(Corruptor):
    """Puts samples of cached proposals at cached places. No network, no gradient, no logits over the vocabulary.

    The idea of predictions cached offline comes with Fast-ELECTRA (Dong et al., 2024). What is stored and how the tail
    is sampled is ours: see `cache/temper.py`.
    """

    @dataclass(frozen=True)
    class Config(Corruptor.Config):
        """A cache of the run's own data; its places, and so the share that is selected, are the cache's."""

        cache: str = ""
        """Folder that `electrain cache` made."""
        slots: int | None = field(default=None, metadata=READ)
        """Selected slots of a row, read from the cache when the run begins; until then what is expected."""
        top: int | None = field(default=None, metadata=READ)
        """Proposals kept of each slot, likewise."""
        checksum: str | None = field(default=None, metadata=READ)
        """Of the cache's contents, likewise: the run goes on with no other."""
        temperature: Schedule = FALLING
        """Of the softmax that is sampled from."""

        def __post_init__(self) -> None:
            if min(self.temperature.values) <= 0:
                raise UserError(f"corruptor: temperature reaches {min(self.temperature.values)}; keep it above 0")

        def build(self, vocab: Vocab, encoder: Encoder) -> "Cached":
            return Cached(self, vocab)

        def resolve(self, source: Source) -> "Cached.Config":
            found = source.proposals(self.cache)
            return replace(self, slots=found.slots, top=found.top, checksum=found.checksum)

        def reader(self, source: Source, packing: Packing) -> Reader:
            found = source.proposals(self.cache)
            if self.checksum not in (None, found.checksum):
                raise UserError(f"{self.cache}: is not the cache that this run was begun with; put that one back")
            return found.reader(packing)

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        if config.slots is None or config.top is None:
            raise UserError("corruptor: the cache's sizes are not known; name it with --system.corruptor.cache")
        self.config = config
        self.vocab = vocab
        self.slots, self.top = config.slots, config.top
        self.register_buffer("weight", torch.zeros(vocab.size))
        self.weight: Tensor

    def start(self, source: Source, encoder: Encoder) -> str:
        self.weight.copy_(shares(source.frequencies(), self.vocab.special))
        return f"proposals from {self.config.cache}"

    def selected(self, length: int) -> int:
        return self.slots

    def beside(self, rows: int, length: int) -> tuple[Tensor, ...]:
        kept = torch.zeros(rows, self.slots, self.top)
        tail = torch.zeros(rows, self.slots, 2, dtype=torch.float16)
        return kept[..., 0].long(), kept.int(), kept.half(), tail

    def forward(self, batch: Batch, encoder: Encoder, progress: Float[Tensor, ""]) -> Corrupted:
        place, *kept = batch.extra
        # An empty slot names place 0; and nothing that a file says may touch a special token.
        picked = Selection(place, batch.maskable.gather(1, place))
        temperature = self.config.temperature(progress)
        sampled = draw(Entry(*kept), self.weight, temperature, uniform(batch.key, Stream.SAMPLE, place))
        ids = scatter(batch.ids, picked, sampled)
        replaced = ids != batch.ids
        right = sampled == batch.ids.gather(1, place)
        metrics = {
            "replaced": mean(replaced, batch.real),
            "sampled_right": mean(right, picked.valid),
            "temperature": value(temperature),
        }
        return Corrupted(ids, picked, replaced, None, torch.zeros((), device=ids.device), metrics)
