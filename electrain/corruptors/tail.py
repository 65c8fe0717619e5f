"""What a generator proposes beyond its likeliest tokens, drawn by frequency: see `electrain/tail.py`."""

from typing import final

import torch
from torch import Tensor, nn

from electrain.errors import UserError
from electrain.source import Source
from electrain.tail import Tail, shares
from electrain.vocab import Vocab


@final
class FrequentTail(nn.Module):
    """The weights of the tail, read from the data when a run begins and saved with it; all alike until then."""

    def __init__(self, kept: int, vocab: Vocab):
        super().__init__()
        if not 0 < kept <= vocab.size // 2:
            raise UserError(f"corruptor: kept {kept} of {vocab.size} tokens; keep from 1 to half of them, or 0 for all")
        self.vocab = vocab
        self.kept = kept
        self.register_buffer("weight", shares(torch.zeros(vocab.size, dtype=torch.long), vocab.special))
        self.weight: Tensor

    def start(self, source: Source) -> str:
        self.weight.copy_(shares(source.frequencies(), self.vocab.special))
        return f"beyond {self.kept} tokens it is sampled by frequency"

    def forward(self) -> Tail:
        return Tail(self.kept, self.weight)
