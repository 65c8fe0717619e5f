"""Where questions come from: the training sets and the one to judge by, named or found in a folder."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from electrain.errors import UserError

Name = Literal["squad", "squad2"]
VERSIONS: dict[str, Name] = {"1": "squad", "1.0": "squad", "1.1": "squad", "2": "squad2", "2.0": "squad2"}
ROLES = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev"}
PARTS = ("fit", "score")  # two parts of one set: what is fitted on the first is judged by the second
ENDINGS = (".json", ".jsonl", ".json.gz", ".jsonl.gz")


@dataclass(frozen=True)
class Hub:
    """A split of a Hub data set, or of a folder that `datasets` reads, with the columns of `squad` and `squad_v2`."""

    name: str
    split: str
    config: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.split})"


Source = Path | Hub


@dataclass(frozen=True)
class Files:
    """What a task is made from: training sets, read one after the other, and the set that judges."""

    train: tuple[Source, ...]
    dev: Source


def find(place: str | Path, task: Name) -> Files:
    """The sets of a folder, by the names of its files, or of a Hub data set.

    A file is known by the words of its name: `train` or `dev` (validation, valid, val), and a version (train-v1.1.json,
    dev-v2.0.json.gz); `fit` and `score` are two parts of a set (dev-v2.0-fit.json). Files of the task's version come
    before files without one. A folder without such files but with parquet is read as a Hub data set is.

    UserError if there is not one file of either kind.
    """
    folder = Path(place).expanduser()
    if folder.is_file():
        raise UserError(f"{folder}: is one file; name a training set and a dev set, or a folder with both")
    if not folder.is_dir():
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(place)):
            return Files((Hub(str(place), "train"),), Hub(str(place), "validation"))
        raise UserError(f"{place}: no such folder, and no name of a Hub data set; check --data")
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS) and path.is_file())
    for version in (task, None):
        of_kind: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            kind, its_version = _known(path.name)
            if kind and its_version == version:
                of_kind[kind].append(path)
        for fitted, judged in (("train", "dev"), PARTS):
            if of_kind[fitted] and of_kind[judged]:
                return Files((_one(of_kind[fitted]),), _one(of_kind[judged]))
    if not paths and any(folder.rglob("*.parquet")):
        return Files((Hub(str(folder), "train"),), Hub(str(folder), "validation"))
    version = "1.1" if task == "squad" else "2.0"
    raise UserError(
        f"{folder}: no pair of a training set and a dev set for {task} (train-v{version}.json, dev-v{version}.json, or "
        f"train.json, dev.json; .jsonl and .gz too); rename them or name the two files"
    )


def _known(name: str) -> tuple[str | None, Name | None]:
    """What a file is by its name: train, dev, fit, score or nothing; and the version."""
    words = re.findall(r"\d+(?:\.\d+)*|[a-z]+", re.sub(r"\.jsonl?(\.gz)?$", "", name.lower()))
    version: Name | None = next((VERSIONS[word] for word in words if word in VERSIONS), None)
    kind = next((word for word in words if word in PARTS), None)
    kind = kind or next((ROLES[word] for word in words if word in ROLES), None)
    # Files beside the sets are often named for them; no set is.
    return (None if {"predictions", "partition", "nbest", "odds", "eval"} & set(words) else kind), version


def _one(paths: list[Path]) -> Path:
    """The one with the plainest name."""
    plain = min(len(path.name) for path in paths)
    shortest = [path for path in paths if len(path.name) == plain]
    if len(shortest) > 1:
        names = " or ".join(path.name for path in shortest)
        raise UserError(f"{paths[0].parent}: {names}? Name the file that is meant")
    return shortest[0]
