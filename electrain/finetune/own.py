"""A user's own tables: where the splits are, which columns are read, what is held out where no dev file is there."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.columns import LABEL, SINGLE, among, missing, named, pair_among
from electrain.finetune.splits import files_of, listed, split_of
from electrain.finetune.tables import Table, read_hub, read_table


def own_tables(source: str, train: tuple[Path, ...], dev: Path | None) -> dict[str, list[Table]]:
    """Tables by split: "train", and "dev" and "test" where they are there.

    source: one file to train on, a folder with train.csv, dev.csv, test.csv (or other usual names and endings), or a
            Hub data set; "" where `train` says all
    train, dev: files that stand in for those found
    """
    path = Path(source).expanduser()
    found: dict[str, list[Table]] = {}
    if source and path.is_dir():
        files = files_of(path)
        if "train" not in files and not train:
            raise UserError(f"{path}: no training file; there are: {listed(path)}. Name one with --train")
        skipped = {"train": bool(train), "dev": dev is not None}
        found = {
            split: [read_table(file) for file in paths] for split, paths in files.items() if not skipped.get(split)
        }
    elif source and path.is_file():
        if not train:
            found["train"] = [read_table(path)]
    elif source and (path.suffix or source.count("/") > 1 or source.startswith((".", "~"))):
        raise UserError(f"{source}: no such file or folder; check --data")
    elif source:
        found = {ours: [table] for name, table in read_hub(source).items() if (ours := split_of(name))}
    if train:
        found["train"] = [read_table(file.expanduser()) for file in train]
    if dev is not None:
        found["dev"] = [read_table(dev.expanduser())]
    if "train" not in found:
        raise UserError(f"{source or 'no data'}: no training rows; give a file or folder with --data, or --train")
    return found


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
