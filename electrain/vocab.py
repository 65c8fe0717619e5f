"""What training has to know of a tokenizer: a size and a handful of ids."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocab:
    """The vocabulary as the model sees it.

    size:    rows of the embedding table (every token id is below it)
    special: all ids that are never selected for corruption (padding, [CLS], [SEP], [MASK], [UNK] is *not* among them)
    """

    size: int
    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    special: tuple[int, ...]
