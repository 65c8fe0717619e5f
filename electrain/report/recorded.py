"""run.json for people: what was run, on what, and what of it differs from the recipe."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from electrain.data.manifest import NAME as MANIFEST
from electrain.errors import UserError, reason
from electrain.flops import Parameters, count
from electrain.recipes import published, recipe, sized, summary
from electrain.recipes.sizes import SIZES
from electrain.run import Run, settled

NAME = "run.json"


@dataclass(frozen=True)
class Recorded:
    """What run.json and the tokenizer beside it say. `None` and "" stand for what cannot be told.

    tree:        run.json as it is
    run:         the same as a configuration, if this version knows all of it; otherwise `unread` says why not
    differences: fields that are not the recipe's own, (name, its value, this run's)
    size:        the size at which the recipe is least different; "" for its own
    operations:  of an update, 2mnk a matrix product, of this stage alone
    """

    tree: dict[str, Any]
    run: Run | None
    unread: str
    about: str
    size: str
    differences: list[tuple[str, Any, Any]]
    tokenizer: str
    vocab_size: int | None
    parameters: Parameters | None
    operations: float | None

    def setting(self, name: str) -> Any:
        """A field of the run."""
        return self.tree["run"][name]

    def said(self, name: str) -> str:
        """A text of the record: data, data_sha256, command, machine."""
        value = self.tree.get(name)
        return value if isinstance(value, str) else ""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what decides the numbers."""
        found = self.tree.get("versions")
        return {str(name): str(number) for name, number in found.items()} if isinstance(found, dict) else {}


def load(folder: Path) -> Recorded:
    """What is recorded of the run in a folder. UserError if it holds none, or its run.json is damaged."""
    path = folder / NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        what = "there is no such folder" if not folder.exists() else "no folder of a run: it holds no run.json"
        what = "a file, not the folder of a run" if folder.is_file() else what
        raise UserError(f"{folder}: {what}; name what `electrain pretrain --out` made") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); see to its rights, or restore it") from error
    return _understood(content, path)


@lru_cache(maxsize=256)  # a page that is written again and again asks again and again
def _understood(content: bytes, path: Path) -> Recorded:
    try:
        tree = json.loads(content)
        fields = {name: tree["run"][name] for name in ("steps", "batch", "length", "seed")}
        if not all(type(value) is int for value in fields.values()) or min(*list(fields.values())[:3]) < 1:
            raise ValueError("its steps, batch, length or seed are no numbers of a run")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a run of electrain ({reason(error)}); restore it") from error
    try:
        run, unread = Run.from_json(tree["run"]), ""
    except (UserError, KeyError, TypeError, ValueError) as error:
        run, unread = None, reason(error).removeprefix("run.json: ")
    tokenizer, vocab_size = _tokenizer(path.parent / "tokenizer" / "tokenizer.json")
    about, size, different = _compared(tree["run"].get("recipe"), run)
    cost = None
    if run is not None and vocab_size:
        try:
            cost = count(run, vocab_size)
        except UserError as error:
            unread = reason(error)
    return Recorded(
        tree, run, unread, about, size, different, tokenizer, vocab_size,
        None if cost is None else cost.parameters,
        None if cost is None else sum(part.step for part in cost.plain.values()),
    )  # fmt: skip


def _tokenizer(path: Path) -> tuple[str, int | None]:
    """A tokenizer in a few words, and the rows of its token table."""
    try:
        tree = json.loads(path.read_bytes())
        model, added = tree["model"], tree.get("added_tokens") or []
        words = model["vocab"]
        numbers = list(words.values()) if isinstance(words, dict) else list(range(len(words)))
        size = max([*numbers, *(token["id"] for token in added)]) + 1
        return f"{model['type']}, {size:,} tokens", size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", None


def _compared(name: Any, run: Run | None) -> tuple[str, str, list[tuple[str, Any, Any]]]:
    """What a recipe is, the size that a run was made at, and where the run is not that recipe."""
    if run is None or not isinstance(name, str) or name not in published():
        return "", "", []
    function, found = recipe(name), {}
    for size in ("", *SIZES):
        try:
            own = sized(function, SIZES[size]) if size else function()
        except UserError:
            continue
        found[size] = _different(settled(own, run).to_json(), run.to_json())
    size = min(found, key=lambda size: len(found[size]))
    return summary(function), size, found[size]


def _different(own: Any, here: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Fields of two trees that differ, as (name, own, here). A run's name of its recipe is none."""
    if isinstance(own, dict) and isinstance(here, dict) and own.get("type") == here.get("type"):
        keys = [key for key in here if key not in ("type", "recipe")]
        return [found for key in keys for found in _different(own.get(key), here[key], f"{name}.{key}".lstrip("."))]
    return [] if own == here else [(name, own, here)]


def corpus(recorded: Recorded) -> list[tuple[str, str]]:
    """What the data folder says of itself, as (what, how much); nothing if it is gone or has changed since."""
    path = Path(recorded.said("data")) / MANIFEST
    try:
        import hashlib

        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != recorded.said("data_sha256"):
            return []
        tree = json.loads(content)
        parts = [(split, sum(one["tokens"] for one in tree[split]), sum(one["documents"] for one in tree[split]))
                 for split in ("train", "validation")]  # fmt: skip
        sources = [str(one["name"]) for one in tree["sources"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    words = {"train": "training text", "validation": "held-out text"}
    said = [(words[split], f"{tokens:,} tokens in {documents:,} documents") for split, tokens, documents in parts]
    more = f" and {len(sources) - 5} more" if len(sources) > 5 else ""
    return [("made from", ", ".join(sources[:5]) + more), *said]
