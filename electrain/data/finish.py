"""From what the tasks have found to the manifest."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from electrain.data.frequencies import NAME as FREQUENCIES
from electrain.data.manifest import TOKENIZER, Manifest, Shard, Source
from electrain.data.pieces import Piece
from electrain.data.settings import Prepare
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.errors import UserError
from electrain.files import sha256


@dataclass(frozen=True)
class Found:
    """What one task has found (tasks/RANK.json).

    train, validation: tokens, documents, sha256, index_sha256 of the file it wrote; None if it wrote none
    dropped:           documents left out, by reason; `cut`: documents cut into several
    longest:           tokens of the longest document, without its [SEP]
    lowest:            the lowest hash of a document's text
    """

    train: dict | None
    validation: dict | None
    dropped: dict[str, int]
    cut: int
    words: int
    bytes: int
    unknown: int
    longest: int
    lowest: int

    @property
    def documents(self) -> int:
        return sum(part["documents"] for part in (self.train, self.validation) if part)


def collect(work: Path, tasks: int) -> list[Found]:
    """What all tasks have found, in their order."""
    return [Found(**json.loads((work / f"tasks/{rank:05d}.json").read_text())) for rank in range(tasks)]


def held_out_nothing(found: Sequence[Found], settings: Prepare) -> tuple[int, int] | None:
    """If a validation split is wanted and came out empty: the task with the lowest hash of a text, and that hash.

    UserError if there is no document at all, or none would be left on one of the sides.
    """
    documents = sum(task.documents for task in found)
    if documents == 0:
        reasons = _told(sum((Counter(task.dropped) for task in found), Counter()))
        raise UserError(f"the corpus is empty after cleaning ({reasons or 'no text in it'}); check --corpus")
    if all(task.train is None for task in found) and (documents > 1 or settings.validation == 0):
        raise UserError("no document is left to train on: all were held out; give a smaller --validation, or more text")
    if settings.validation == 0 or any(task.validation for task in found):
        return None
    if documents == 1:
        raise UserError(
            "the corpus is a single document, so that none can be held out; cut it with --documents blank-lines "
            "or --documents lines, or pass --validation 0"
        )
    return min(((rank, task.lowest) for rank, task in enumerate(found)), key=lambda item: item[1])


def finish(
    out: Path, settings: Prepare, identity: Mapping[str, object], tasks: Sequence[Sequence[Piece]], threshold: int
) -> Manifest:
    """Write frequencies.npy and then, last, the manifest."""
    found = collect(out / ".work", len(tasks))
    vocab = vocab_of(load_tokenizer(out / "tokenizer"))
    dtype = "uint16" if vocab.size < 65536 else "uint32"
    repeats = settings.repeats()
    frequencies = np.zeros(vocab.size, np.int64)
    train: list[Shard] = []
    validation: list[Shard] = []
    for rank, (pieces, task) in enumerate(zip(tasks, found, strict=True)):
        if task.train:
            shard = Shard(file=f"train/{rank:05d}.ds", repeat=repeats[pieces[0].source], **task.train)
            train.append(shard)
            rounds, rest = divmod(shard.span, shard.tokens)
            frequencies += rounds * np.load(out / f".work/tasks/{rank:05d}.npy")
            tokens = np.memmap(out / shard.file, np.dtype(dtype).newbyteorder("<"), "r")
            frequencies += np.bincount(tokens[:rest], minlength=vocab.size)
        if task.validation:
            validation.append(Shard(file=f"validation/{rank:05d}.ds", **task.validation))
    with open(out / FREQUENCIES, "wb") as file:
        np.save(file, frequencies)
    manifest = Manifest(
        dtype=dtype,
        vocab=vocab,
        tokenizer_sha256=sha256(out / TOKENIZER),
        train=tuple(train),
        validation=tuple(validation),
        sources=_sources(settings, identity, tasks, found),
        validation_share=settings.validation,
        split=f"by document: held out where the 64-bit blake2b hash of the text is below {threshold}",
        frequencies_sha256=sha256(out / FREQUENCIES),
        summary=_summary(found, train, validation, settings, identity),
    )
    manifest.save(out)
    return manifest


def _sources(
    settings: Prepare, identity: Mapping[str, object], tasks: Sequence[Sequence[Piece]], found: Sequence[Found]
) -> tuple[Source, ...]:
    documents: Counter[int] = Counter()
    size: Counter[int] = Counter()
    for pieces, task in zip(tasks, found, strict=True):
        documents[pieces[0].source] += task.documents
        size[pieces[0].source] += task.bytes
    hashes = identity["files"]
    assert isinstance(hashes, list)
    return tuple(
        Source(name, repeat, documents[i], size[i], hashes[i])
        for i, (name, repeat) in enumerate(zip(settings.corpus, settings.repeats(), strict=True))
    )


def _summary(
    found: Sequence[Found],
    train: Sequence[Shard],
    validation: Sequence[Shard],
    settings: Prepare,
    identity: Mapping[str, object],
) -> dict:
    documents = sum(task.documents for task in found)
    tokens = sum(shard.tokens for shard in (*train, *validation))
    words = sum(task.words for task in found)
    unknown = sum(task.unknown for task in found)
    text_tokens = tokens - documents  # without the [SEP] after each
    return {
        "documents": documents,
        "validation_documents": sum(shard.documents for shard in validation),
        "tokens": tokens,
        "train_tokens": sum(shard.tokens for shard in train),
        "validation_tokens": sum(shard.tokens for shard in validation),
        "epoch_tokens": sum(shard.span for shard in train),
        "bytes": sum(task.bytes for task in found),
        "words": words,
        "tokens_a_word": round(text_tokens / max(words, 1), 4),
        "unknown": unknown,
        "unknown_share": round(unknown / max(text_tokens, 1), 8),
        "longest": max(task.longest for task in found),
        "dropped": dict(sorted(sum((Counter(task.dropped) for task in found), Counter()).items())),
        "cut": sum(task.cut for task in found),
        "tokenizer": settings.tokenizer or f"{settings.vocab_kind}, trained on this corpus",
        "settings": dict(identity),
    }


def _told(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(dropped.items()))
