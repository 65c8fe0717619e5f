"""What stands at the selected places when a masked language model reads them."""

import torch
from jaxtyping import Int
from torch import Tensor

from electrain.batch import Batch, Selection, scatter
from electrain.randomness import Stream, uniform
from electrain.vocab import Vocab


def mask(batch: Batch, picked: Selection, vocab: Vocab, *, masked: float, random: float) -> Int[Tensor, "b t"]:
    """The text with a share `masked` of the selected places as [MASK], `random` as any token, the rest as they were.

    BERT: 0.8 and 0.1; ELECTRA's generator: 0.85 and 0 (official code; the paper's text does not say).
    """
    u = uniform(batch.key, Stream.MASK, picked.index)
    rest = batch.ids.gather(1, picked.index)
    if random > 0:
        token = (uniform(batch.key, Stream.RANDOM_TOKEN, picked.index) * vocab.size).long()
        rest = torch.where(u < masked + random, token, rest)
    return scatter(batch.ids, picked, torch.where(u < masked, vocab.mask, rest))
