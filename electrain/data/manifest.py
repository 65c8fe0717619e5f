"""What a prepared data folder holds: `manifest.json`, written last by `prepare` and read first by training."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from electrain.errors import UserError
from electrain.files import replace, sync
from electrain.files import sha256 as digest
from electrain.vocab import Vocab

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
T = TypeVar("T", bool, int, float, str, list, dict)

VERSION = 1
NAME = "manifest.json"
TOKENIZER = "tokenizer/tokenizer.json"


@dataclass(frozen=True)
class Shard:
    """One token file and its index.

    file:          path inside the data folder, with forward slashes: "train/00000.ds"; its index is beside it, ".index"
    tokens:        tokens in the file, the [SEP] that closes each document included
    documents:     documents in the file (entries of the index)
    sha256:        of the token file
    index_sha256:  of the index
    repeat:        how often the tokens run past in one epoch; 2.5 is twice and then the first half, cut at a token
    """

    file: str
    tokens: int
    documents: int
    sha256: str
    index_sha256: str
    repeat: float = 1.0

    @property
    def index(self) -> str:
        """Path of the index inside the data folder."""
        return self.file + ".index"

    @property
    def span(self) -> int:
        """Tokens that this shard contributes to one epoch: repeat * tokens, rounded."""
        return round(self.repeat * self.tokens)


@dataclass(frozen=True)
class Source:
    """One corpus that went in. `sha256` is empty where the bytes were not hashed (a stream, a Hub data set)."""

    name: str
    repeat: float
    documents: int
    bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """Everything that training has to know of a data folder, and what a person wants to know of it.

    dtype:               type of the token files, little-endian: "uint16" or "uint32"
    tokenizer_sha256:    of the tokenizer file that made the tokens; empty where it was not hashed
    split:               how the validation documents were chosen, in words
    summary:             counts for people: documents, tokens, words, unknown, longest, dropped {reason: n}, ...
    frequencies_sha256:  of frequencies.npy; empty likewise
    """

    dtype: Literal["uint16", "uint32"]
    vocab: Vocab
    tokenizer_sha256: str
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]
    sources: tuple[Source, ...]
    validation_share: float
    split: str
    frequencies_sha256: str
    summary: dict[str, JSON] = field(default_factory=dict)
    version: int = VERSION

    @property
    def token_type(self) -> np.dtype:
        """The numpy type of a token on disk."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def checksum(self) -> str:
        """SHA-256 of the contents: two folders with equal checksums feed a run the same rows."""
        text = json.dumps(self._plain(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @classmethod
    def load(cls, data_dir: str | Path) -> "Manifest":
        """Read DATA/manifest.json. UserError if it is missing, damaged, of another version or names files elsewhere."""
        path = Path(data_dir) / NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(Path(data_dir)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); run electrain prepare again") from error
        try:
            raw = json.loads(text)
            if not isinstance(raw, dict):
                raise _Wrong("it is not a JSON object")
            version = _get(raw, "version", int)
            if version != VERSION:
                raise UserError(
                    f"{path}: version {version}, but this electrain reads version {VERSION}; "
                    "prepare the data again with this electrain, or install the one that made it"
                )
            manifest = cls._from_json(raw)
            if _get(raw, "checksum", str) != manifest.checksum:
                raise _Wrong("its contents do not agree with its checksum")
        except (ValueError, OverflowError, RecursionError) as error:
            raise UserError(
                f"{path}: damaged ({error}); run electrain prepare again, or copy the file again"
            ) from error
        return manifest

    def check(self, data_dir: str | Path, name: str, sha256: str) -> None:
        """UserError if a small file of the folder is another than the manifest says; a missing one is not wrong."""
        path = Path(data_dir) / name
        try:
            found = digest(path)
        except OSError:
            return
        if sha256 and found != sha256:
            raise UserError(f"{path}: damaged, its SHA-256 is not the manifest's; copy it again, or prepare again")

    def save(self, data_dir: str | Path) -> None:
        """Write DATA/manifest.json: beside it first, synced, then renamed, so that it is whole or not there.

        ValueError if a field is not what it must be; nothing is written then.
        """
        raw = {**self._plain(), "checksum": self.checksum}
        text = json.dumps(raw, indent=2, ensure_ascii=False) + "\n"
        replace(Path(data_dir) / NAME, text.encode())
        sync(Path(data_dir))

    def _plain(self) -> dict:
        """As it comes back from the file (1.0 for a repetition of 1, lists for tuples). ValueError if it would not."""
        return asdict(self._from_json(json.loads(json.dumps(asdict(self), allow_nan=False))))

    @classmethod
    def _from_json(cls, raw: dict) -> "Manifest":
        dtype = _get(raw, "dtype", str)
        if dtype not in ("uint16", "uint32"):
            raise _Wrong(f"dtype is {dtype!r}, not uint16 or uint32")
        vocab = _vocab(_get(raw, "vocab", dict))
        if dtype == "uint16" and vocab.size > 65536:
            raise _Wrong(f"a vocabulary of {vocab.size} does not fit uint16")
        train, validation = (
            tuple(_shard(item) for item in _get(raw, split, list)) for split in ("train", "validation")
        )
        files = [shard.file for shard in train + validation]
        if len(set(files)) != len(files):
            raise _Wrong("a shard is named twice")
        share = _get(raw, "validation_share", float)
        if not 0 <= share < 1:
            raise _Wrong(f"validation_share is {share}, not from 0 to below 1")
        return cls(
            dtype=dtype,
            vocab=vocab,
            tokenizer_sha256=_get(raw, "tokenizer_sha256", str),
            train=train,
            validation=validation,
            sources=tuple(_source(item) for item in _get(raw, "sources", list)),
            validation_share=share,
            split=_get(raw, "split", str),
            frequencies_sha256=_get(raw, "frequencies_sha256", str),
            summary=_get(raw, "summary", dict),
            version=_get(raw, "version", int),
        )


def _missing(folder: Path) -> UserError:
    what = "a file" if folder.is_file() else "the folder of a run" if (folder / "run.json").exists() else ""
    if what:
        return UserError(f"{folder}: {what}, not the folder that `electrain prepare` made; name that")
    return UserError(f"{folder / NAME}: no such file; make the data with: electrain prepare --out {folder}")


class _Wrong(ValueError):
    """A field of the manifest is not what it must be."""


def _get(raw: object, name: str, kind: type[T]) -> T:
    if not isinstance(raw, dict) or name not in raw:
        raise _Wrong(f"{name!r} is missing")
    value = raw[name]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _Wrong(f"{name!r} is {type(value).__name__}, not {kind.__name__}")
    return value


def _count(raw: object, name: str) -> int:
    value = _get(raw, name, int)
    if not 0 <= value < 2**62:
        raise _Wrong(f"{name!r} is {value}")
    return value


def _repeat(raw: object) -> float:
    value = _get(raw, "repeat", float)
    if not math.isfinite(value) or not 0 < value <= 1e6:
        raise _Wrong(f"'repeat' is {value}, not above 0 and at most a million")
    return value


def _vocab(raw: dict) -> Vocab:
    special = tuple(_get(raw, "special", list))
    vocab = Vocab(
        size=_count(raw, "size"),
        pad=_count(raw, "pad"),
        unk=_count(raw, "unk"),
        cls=_count(raw, "cls"),
        sep=_count(raw, "sep"),
        mask=_count(raw, "mask"),
        special=special,
    )
    if vocab.size > 2**24:  # tables are laid out by it: a giant's would take all memory there is
        raise _Wrong(f"a vocabulary of {vocab.size} tokens")
    for number in (vocab.pad, vocab.unk, vocab.cls, vocab.sep, vocab.mask, *special):
        if type(number) is not int or not 0 <= number < vocab.size:
            raise _Wrong(f"the special token id {number!r} is not in a vocabulary of {vocab.size}")
    return vocab


def _shard(raw: object) -> Shard:
    file = _get(raw, "file", str)
    parts = PurePosixPath(file).parts
    # A manifest from elsewhere must not make training read outside its folder.
    if not parts or file.startswith("/") or ".." in parts or any(sign in file for sign in "\\:\0"):
        raise _Wrong(f"the shard {file!r} does not lie inside the data folder")
    return Shard(
        file=file,
        tokens=_count(raw, "tokens"),
        documents=_count(raw, "documents"),
        sha256=_get(raw, "sha256", str),
        index_sha256=_get(raw, "index_sha256", str),
        repeat=_repeat(raw),
    )


def _source(raw: object) -> Source:
    return Source(
        name=_get(raw, "name", str),
        repeat=_repeat(raw),
        documents=_count(raw, "documents"),
        bytes=_count(raw, "bytes"),
        sha256=_get(raw, "sha256", str),
    )
