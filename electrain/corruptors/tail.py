"""What a generator proposes beyond its likeliest tokens, drawn by frequency: see `electrain/tail.py`."""

from typing import final

import torch
from torch import Tensor, nn

from electrain.errors import UserError
from electrain.source import Source
from electrain.tail import Tail, shares
from electrain.vocab import Vocab


def tail_of(kept: int, vocab: Vocab) -> "FrequentTail | None":
    """The tail beyond so many kept tokens; none for 0, nor in a vocabulary less than twice as large: all are kept."""
    if kept < 0:
        raise UserError(f"corruptor: kept is {kept}; choose how many tokens are kept, or 0 for all")
    return FrequentTail(kept, vocab) if 0 < kept <= vocab.size // 2 else None


@final
class FrequentTail(nn.Module):
    """The weights of the tail, read from the data when a run begins and saved with it; all alike until then."""

    def __init__(self, kept: int, vocab: Vocab):
        super().__init__()
        self.vocab = vocab
        self.kept = kept
        self.register_buffer("weight", shares(torch.zeros(vocab.size, dtype=torch.long), vocab.special))
        self.weight: Tensor

    def start(self, source: Source) -> str:
        self.weight.copy_(shares(source.frequencies(), self.vocab.special))
        return f"beyond {self.kept} tokens it is sampled by frequency"

    def forward(self) -> Tail:
        return Tail(self.kept, self.weight)
