"""Which file is which split: the files of a folder, or the splits of a Hub data set, by their usual names."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from electrain.data.corpus import COMPRESSIONS
from electrain.errors import UserError
from electrain.finetune.columns import plain
from electrain.finetune.tables import ENDINGS, Table, read_hub

T = TypeVar("T")

NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val", "devel", "testa", "eval"),
    "test": ("test", "testing", "testb"),
}


def split_of(name: str, names: dict[str, tuple[str, ...]] = NAMES, prefix: Sequence[str] = ()) -> str | None:
    """The split that a name without ending stands for, if any: "validation_matched", "eng.testa".

    names:  splits with the plain names each goes by
    prefix: plain names that may stand before the split's
    """
    bare = plain(re.sub(r"-\d{5}-of-\d{5}$", "", name))
    for split, known in names.items():
        if bare in known or any(bare == before + one for before in prefix for one in known):
            return split
    return None


def stem(path: Path, endings: Sequence[str] = ENDINGS) -> str | None:
    """A file's name without its ending; None if it is none of the endings, or hidden."""
    name = path.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    found = next((ending for ending in endings if name.endswith(ending)), None)
    return path.name[: len(name) - len(found)] if found is not None and not name.startswith(".") else None


def files_of(
    folder: Path,
    names: dict[str, tuple[str, ...]] = NAMES,
    prefix: Sequence[str] = (),
    endings: Sequence[str] = ENDINGS,
) -> dict[str, tuple[Path, ...]]:
    """The files of every split in a folder, sorted; several files only if they are numbered parts (-00000-of-00002).

    UserError if two files that are no parts claim one split.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        bare = stem(path, endings) if path.is_file() else None
        if bare is not None and (split := split_of(bare, names, prefix)):
            found.setdefault(split, []).append(path)
    for split, paths in found.items():
        if len(paths) > 1 and not all(re.search(r"-\d{5}-of-\d{5}\.", path.name) for path in paths):
            listed = ", ".join(path.name for path in paths)
            raise UserError(f"{folder}: {listed} all look like the split {split!r}; leave one there")
    return {split: tuple(paths) for split, paths in found.items()}


def splits_of(
    source: str,
    train: tuple[Path, ...],
    dev: Path | None,
    read: Callable[[Path], T],
    of_table: Callable[[Table], T],
    prefix: Sequence[str] = (),
    endings: Sequence[str] = ENDINGS,
) -> dict[str, list[T]]:
    """What is read of every split: "train", and "dev" and "test" where they are there.

    source:     one file to train on, a folder with train.csv, dev.csv, test.csv (or other usual names and endings), or
                a Hub data set; "" where `train` says all
    train, dev: files that stand in for those found
    read:       of a file; of_table: of a split of a Hub data set
    UserError if there is no such place, or nothing to train on
    """
    path = Path(source).expanduser()
    named = {"train": train, "dev": () if dev is None else (dev,)}
    found: dict[str, list[T]] = {}
    if source and path.is_dir():
        files = files_of(path, prefix=prefix, endings=endings)
        if "train" not in files and not train:
            raise UserError(f"{path}: no training file; there are: {listed(path)}. Name one with --train")
        found = {split: [read(file) for file in paths] for split, paths in files.items() if not named.get(split)}
    elif source and path.is_file():
        found = {} if train else {"train": [read(path)]}
    elif source and (path.suffix or source.count("/") > 1 or source.startswith((".", "~"))):
        raise UserError(f"{source}: no such file or folder; check --data")
    elif source:
        found = {ours: [of_table(table)] for name, table in read_hub(source).items() if (ours := split_of(name))}
    found |= {split: [read(file.expanduser()) for file in paths] for split, paths in named.items() if paths}
    if "train" not in found:
        raise UserError(f"{source or 'no data'}: no training rows; give a file or folder with --data, or --train")
    return found


def listed(folder: Path) -> str:
    """The names in a folder, for messages."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "nothing"
