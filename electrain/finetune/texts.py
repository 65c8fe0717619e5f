"""One or two texts a row to token ids: the tokenizer's own form, cut to a length, many rows at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsIndex, final, overload

import numpy as np
from jaxtyping import Shaped

from electrain.data.tokenizer import bare
from electrain.errors import UserError
from electrain.finetune.task import Row
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

CHUNK = 8192  # rows a call: what the tokenizer returns is far larger than the ids, and is let go of in between


@final
class Rows(Sequence[Row]):
    """Encoded rows in one array; a row is a view of it.

    ids       all rows' ids, one behind the other, int32
    ends      (rows + 1,) where each row ends; row i is ids[ends[i] : ends[i + 1]]
    second    (rows,) place in the row where segment 1 begins
    targets   (rows, n)
    cut       number of rows that were longer than the length
    """

    def __init__(
        self, ids: np.ndarray, ends: np.ndarray, second: np.ndarray, targets: Shaped[np.ndarray, "r n"], cut: int
    ):
        self.ids, self.ends, self.second, self.targets, self.cut = ids, ends, second, targets, cut

    def __len__(self) -> int:
        return len(self.second)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        ids = self.ids[self.ends[number] : self.ends[number + 1]]
        return Row(ids, int(self.second[number]), self.targets[number])


def core_of(tokenizer: "PreTrainedTokenizerFast", vocab: Vocab) -> "Tokenizer":
    """A copy of the bare tokenizer, which neither cuts nor pads. UserError if it is not the vocabulary's."""
    core = bare(tokenizer, plain=False)
    largest = max(core.get_vocab().values())
    if largest >= vocab.size or core.token_to_id(str(tokenizer.cls_token)) != vocab.cls:
        raise UserError(
            f"{tokenizer.name_or_path or 'tokenizer'}: not the checkpoint's vocabulary (ids up to {largest}, [CLS] "
            f"{tokenizer.cls_token_id}; the checkpoint has {vocab.size} tokens, [CLS] {vocab.cls}); give them together"
        )
    return core


def encode(
    core: "Tokenizer", texts: tuple[Sequence[str], ...], targets: Shaped[np.ndarray, "r n"], length: int
) -> Rows:
    """[CLS] text [SEP], or [CLS] first [SEP] second [SEP], at most `length` tokens, of all rows.

    texts: one or two columns
    Of a pair that is too long, tokens are cut from whichever text is longer at the moment (transformers'
    `longest_first`); segments are what the tokenizer says.
    """
    if length < 8:
        raise UserError(f"--length {length} is too short for text; choose 8 or more")
    core.enable_truncation(length, strategy="longest_first")
    count = len(texts[0])
    ids, sizes, second, cut = [], np.zeros(count, np.int64), np.zeros(count, np.int32), 0
    for start in range(0, count, CHUNK):
        columns = [column[start : start + CHUNK] for column in texts]
        chunk = core.encode_batch_fast(list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True)))
        for row, encoding in enumerate(chunk, start):
            read = np.array(encoding.ids, np.int32)
            ids.append(read)
            sizes[row] = len(read)
            second[row] = len(read) - sum(encoding.type_ids)
            cut += bool(encoding.overflowing)
    core.no_truncation()
    ends = np.concatenate([[0], sizes.cumsum()])
    return Rows(np.concatenate(ids) if ids else np.zeros(0, np.int32), ends, second, targets, cut)
