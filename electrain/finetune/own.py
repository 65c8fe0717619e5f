"""A user's own tables: which columns are read, what is held out where no dev file is there."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool

from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.columns import LABEL, SINGLE, among, missing, named, pair_among
from electrain.finetune.tables import Table


def choose(table: Table, text: str, second: str, label: str, pairs: bool | None) -> tuple[tuple[str, ...], str]:
    """The columns of the texts, and that of the labels: those named, else by usual names.

    pairs: whether there must be two texts (True) or one (False); None for two where two are found
    In a table of one text and no usual name, the only column that is left is the text.
    """
    answer = named(table, label) if label else among(table, LABEL)
    if answer is None:
        raise missing(table, "column for the label by a usual name (name one with --label)")
    if second and pairs is False:
        raise UserError(f"{table.file}: --second {second!r} is for two texts a row; choose the task `pair`")
    if text or second:
        if pairs and not (text and second):
            raise UserError(f"{table.file}: name both texts, --text and --second, or neither")
        if not text:
            raise UserError(f"{table.file}: --second {second!r} without --text; name both")
        return (named(table, text), *((named(table, second),) if second else ())), answer
    if pairs is not False and (both := pair_among(table)) and answer not in both:
        return both, answer
    if pairs:
        raise missing(table, "two columns of texts by usual names (name them with --text and --second)")
    one = among(table, [name for name in SINGLE if columns.plain(answer) != name])
    if one is None:
        rest = [column for column in table.columns if column != answer and column.lower() not in columns.INDEX]
        if len(rest) != 1:
            raise missing(table, "column of texts by a usual name (name one with --text)")
        one = rest[0]
    return (one,), answer


def held_out(
    texts: Sequence[Sequence[str]], share: float, kinds: Sequence[str] | None = None
) -> Bool[np.ndarray, " r"]:
    """About `share` of the rows, chosen by a hash of their texts: the same ones in any order, file or process, and
    equal texts together.

    kinds: classes of the rows; those that would be held out whole stay in training
    UserError if nothing is held out, or nothing is left.
    """
    hashes = [blake2b("\0".join(row).encode(), digest_size=8).digest() for row in zip(*texts, strict=True)]
    out = np.array([int.from_bytes(digest, "big") < share * 2**64 for digest in hashes], bool)
    if kinds is not None:
        learnt = {kind for kind, chosen in zip(kinds, out, strict=True) if not chosen}
        out &= np.array([kind in learnt for kind in kinds], bool)
    if not out.any() or out.all():
        raise UserError(f"{len(out)} rows are too few to hold out {share:g} of them; name a file with --dev")
    return out
