"""The two datatrove steps that make token files: read a task's pieces, tokenize them. (Imports datatrove: slow.)

The same steps run in this process, in worker processes, on Slurm and on Ray; all they share is OUT (see work.py).
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.tokens.tokenizer import TokenizedFile

from electrain.data import blocks
from electrain.data.corpus import Layout
from electrain.data.pieces import Piece
from electrain.data.reading import Rules, Tally, read
from electrain.data.tokenizer import encoder_of
from electrain.data.work import NO_SPACE, STOP, WORK, Resumable
from electrain.errors import UserError
from electrain.files import replace, sha256, sync

BATCH_BYTES = 1_000_000  # of text, tokenized at once: bounds the memory, and long enough that Rust does the work
BATCH_DOCUMENTS = 1000
REPORT_SECONDS = 0.5


class Stopped(Exception):
    """Another task has met bad input, or the person has had enough: there is no point in going on."""


@dataclass(frozen=True)
class Job:
    """What every task knows.

    folder:    the output folder
    threshold: a document is held out if the 64-bit hash of its text is below it
    """

    folder: str
    layout: Layout
    rules: Rules
    dtype: str
    size: int
    sep: int
    unk: int
    threshold: int

    @property
    def work(self) -> Path:
        return Path(self.folder) / WORK


def text_hash(raw: bytes) -> int:
    """The number from 0 to below 2**64 that decides on which side of the split a text lies."""
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")


@final
class ReadPieces(PipelineStep):
    """Yields the documents of a task's pieces."""

    name = "pieces"
    type = "read"

    def __init__(self, job: Job, tally: Tally):
        super().__init__()
        self.job = job
        self.tally = tally  # shared with TokenizeAndSplit, which reports it

    def run(self, data: Iterator[Document] | None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        self.tally.reset()
        pieces = [Piece(**piece) for piece in json.loads((self.job.work / f"plan/{rank:05d}.json").read_text())]
        for piece in pieces:
            for number, text in enumerate(read(piece, self.job.layout, self.job.rules, self.tally)):
                yield Document(text=text, id=f"{piece.path}/{piece.start}/{number}")


@final
class TokenizeAndSplit(PipelineStep):
    """Writes a task's documents as datatrove token files, train/RANK.ds and validation/RANK.ds, in one pass.

    Each document is followed by the [SEP] id. Files are written under a hidden name and renamed once they are whole;
    an empty one is not kept. `tasks/RANK.json` is written when everything else is on disk.
    """

    name = "token files"
    type = "tokenize"

    def __init__(self, job: Job, tally: Tally):
        super().__init__()
        self.job = job
        self.tally = tally

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        writers: list[_Writer] = []
        try:
            for split in ("train", "validation"):
                writers.append(_Writer(self.job, split, rank))
            self._run(data, rank, *writers)
        except BaseException as error:
            for writer in writers:
                writer.abandon()
            if isinstance(error, UserError):
                told = {"message": str(error), "keep": isinstance(error, Resumable)}
                replace(self.job.work / f"errors/{rank:05d}", json.dumps(told).encode())
            elif isinstance(error, OSError) and error.errno in NO_SPACE:
                # Not its text: an empty file is all that a full disk may have room for.
                (self.job.work / f"errors/{rank:05d}").touch()
            raise
        yield from ()

    def _run(self, data: Iterator[Document], rank: int, train: "_Writer", validation: "_Writer") -> None:
        job = self.job
        encoder = encoder_of(Path(job.folder) / "tokenizer/tokenizer.json")
        counts = np.zeros(job.size, np.int64)
        found = {"words": 0, "bytes": 0, "unknown": 0, "longest": 0, "lowest": 2**64}
        reported = time.monotonic()
        for texts in _batches(data):
            if (job.work / STOP).exists() or any((job.work / "errors").iterdir()):
                raise Stopped
            # The fast one leaves out the places of the tokens in the text, which nobody asks for here.
            encodings = encoder.encode_batch_fast(texts, add_special_tokens=False)
            for text, encoding in zip(texts, encodings, strict=True):
                ids = encoding.ids
                ids.append(job.sep)
                raw = text.encode("utf-8", "surrogatepass")
                number = text_hash(raw)
                (validation if number < job.threshold else train).add(ids)
                found["words"] += len(text.split())
                found["bytes"] += len(raw)
                found["longest"] = max(found["longest"], len(ids) - 1)
                found["lowest"] = min(found["lowest"], number)
            for writer in (train, validation):
                batch = writer.write()
                found["unknown"] += int(batch[job.unk])
                if writer is train:
                    counts += batch
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._tell(rank, train, validation)
        result = {
            "train": train.finish(),
            "validation": validation.finish(),
            "dropped": dict(self.tally.dropped),
            "cut": self.tally.cut,
            **found,
        }
        self.stat_update("documents", value=train.documents + validation.documents)
        self.stat_update("tokens", value=train.tokens + validation.tokens)
        with open(job.work / f"tasks/{rank:05d}.npy", "wb") as file:
            np.save(file, counts)
        replace(job.work / f"tasks/{rank:05d}.json", json.dumps(result).encode())
        self._tell(rank, train, validation)

    def _tell(self, rank: int, train: "_Writer", validation: "_Writer") -> None:
        """For whoever watches the folder. Not synced to the disk: nothing depends on it."""
        hidden = self.job.work / f"progress/.{rank:05d}"
        hidden.write_text(
            f"{self.tally.read} {train.documents + validation.documents} {train.tokens + validation.tokens}"
        )
        hidden.replace(self.job.work / f"progress/{rank:05d}")


class _Writer:
    """One token file that is being written: SPLIT/.RANK.ds, renamed to SPLIT/RANK.ds by `finish`."""

    def __init__(self, job: Job, split: str, rank: int):
        self.folder = Path(job.folder) / split
        self.name = f"{rank:05d}.ds"
        self.documents = self.tokens = 0
        self._job = job
        self._hash = hashlib.sha256()
        self._ids: list[int] = []
        self._ends: list[int] = []
        self._file = TokenizedFile(str(self.folder), "." + self.name, token_size=np.dtype(job.dtype).itemsize)

    def add(self, ids: list[int]) -> None:
        """One document, its [SEP] included."""
        self._ids += ids
        self._ends.append(len(self._ids))

    def write(self) -> np.ndarray:
        """Writes what was added. Returns how often each token occurs in it, (vocabulary,) int64."""
        ids = np.array(self._ids, np.dtype(self._job.dtype).newbyteorder("<"))
        raw = ids.tobytes()
        self._file.write_bytes(raw, doc_ends=self._ends)
        self._hash.update(raw)
        self.documents += len(self._ends)
        self.tokens += ids.size
        self._ids, self._ends = [], []
        return np.bincount(ids, minlength=self._job.size)

    def finish(self) -> dict[str, int | str] | None:
        """Puts the whole file and its index in place; None (and no file) if it holds no document."""
        self._file.close()
        path = self.folder / self.name
        names = ((self.folder / f".{self.name}{end}", self.folder / f"{self.name}{end}") for end in ("", ".index"))
        if self.documents == 0:
            for hidden, final_name in names:
                hidden.unlink()
                final_name.unlink(missing_ok=True)  # of an earlier pass with another split
            Path(f"{path}{blocks.SUFFIX}").unlink(missing_ok=True)
            return None
        blocks.save(path, self._hash.hexdigest(), blocks.summed(self.folder / f".{self.name}")[1])
        for hidden, final_name in names:
            sync(hidden)
            hidden.replace(final_name)
        return {
            "tokens": self.tokens,
            "documents": self.documents,
            "sha256": self._hash.hexdigest(),
            "index_sha256": sha256(Path(f"{path}.index")),
        }

    def abandon(self) -> None:
        """Leaves nothing of an unfinished file behind."""
        for end in ("", ".index"):
            (self.folder / f".{self.name}{end}").unlink(missing_ok=True)


def _batches(data: Iterator[Document]) -> Iterator[list[str]]:
    texts: list[str] = []
    size = 0
    for document in data:
        texts.append(document.text)
        size += len(document.text)
        if size >= BATCH_BYTES or len(texts) >= BATCH_DOCUMENTS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts
