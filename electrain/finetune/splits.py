"""Which file is which split: the files of a folder, or the splits of a Hub data set, by their usual names."""

import re
from collections.abc import Sequence
from pathlib import Path

from electrain.data.corpus import COMPRESSIONS
from electrain.errors import UserError
from electrain.finetune.columns import plain
from electrain.finetune.tables import ENDINGS

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


def listed(folder: Path) -> str:
    """The names in a folder, for messages."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "nothing"
