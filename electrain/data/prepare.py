"""`electrain prepare`: from text to a folder that training maps into memory.

List the files, cut them into tasks, make the tokenizer, run the tasks (see pipeline.py), write the manifest. Everything
that can be wrong with the input without reading it all is found before anything is written.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from electrain.data.builtin import builtin_documents, fingerprint
from electrain.data.corpus import BUILTIN, File, Layout, list_files
from electrain.data.finish import collect, finish, held_out_nothing
from electrain.data.folder import finished, no_space, working
from electrain.data.manifest import Manifest
from electrain.data.pieces import Piece, cut
from electrain.data.reading import Rules, Tally, read
from electrain.data.settings import VOCAB_SIZE, Cluster, Prepare
from electrain.data.summary import describe
from electrain.data.tokenizer import load_tokenizer, train_tokenizer, vocab_of
from electrain.data.work import Resumable
from electrain.errors import UserError
from electrain.files import replace
from electrain.progress import Done, shown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["Cluster", "Prepare", "prepare"]

SAMPLE_PIECE_BYTES = 1_000_000  # the tokenizer's sample takes at least this much from each piece it reads


def prepare(settings: Prepare) -> Manifest:
    """Do it, or go on with it, and print a summary. Returns at once if it is done already.

    UserError on bad input, and then leaves nothing behind; Resumable, which is one, where the work so far is kept.
    """
    settings.check()
    out = settings.out.expanduser().absolute()
    files = [() if source == BUILTIN else list_files(source, settings.layout) for source in settings.corpus]
    identity = {**settings.identity(), "files": [_fingerprint(group) for group in files]}
    if manifest := finished(out, identity):
        print(f"{settings.out} is prepared already, with these settings; nothing to do.")
        print(describe(manifest, settings.out))
        return manifest
    tokenizer = None
    if settings.tokenizer is not None:
        tokenizer = load_tokenizer(settings.tokenizer)
        vocab_of(tokenizer)
    tasks = cut(files, settings.layout)
    with working(out, identity) as work:
        if BUILTIN in settings.corpus:
            files[settings.corpus.index(BUILTIN)] = (_builtin(work, settings),)
            tasks = cut(files, settings.layout)
        if not (out / "tokenizer").exists():
            if tokenizer is None:
                tokenizer = _train(tasks, settings)
            _save(tokenizer, out, work)
        _run(tasks, out, work, settings)
        manifest = finish(out, settings, identity, tasks, _threshold(work, settings))
    print(describe(manifest, settings.out))
    return manifest


def _fingerprint(files: Sequence[File]) -> str:
    """Of the names, sizes and times of a source's files; of the installation for the built-in corpus."""
    if not files:
        return fingerprint()
    lines = (f"{file.kind} {Path(file.path).name} {file.size} {file.changed}" for file in files)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _builtin(work: Path, settings: Prepare) -> File:
    """The built-in corpus as a file of jsonl."""
    path = work / "builtin.jsonl"
    if not path.exists():
        with shown("Collecting the documentation in this Python installation"):
            lines = [json.dumps({settings.text_column: text}) for text in builtin_documents(settings.local_workers())]
            replace(path, "\n".join(lines).encode())
    return File("jsonl", str(path), path.stat().st_size)


def _train(tasks: Sequence[Sequence[Piece]], settings: Prepare) -> "PreTrainedTokenizerFast":
    size = settings.vocab_size or VOCAB_SIZE
    pieces = [piece for task in tasks for piece in task]
    sample = _sample(pieces, settings.layout, settings.rules, settings.tokenizer_sample)
    with shown(f"Training a tokenizer of {size} tokens ({settings.vocab_kind})"):
        tokenizer = train_tokenizer(sample, settings.vocab_kind, size, settings.min_frequency)
    if len(tokenizer) < size:
        print(f"The corpus gives {len(tokenizer)} tokens, not {size}: too few pairs occur often enough.")
    return tokenizer


def _sample(pieces: Sequence[Piece], layout: Layout, rules: Rules, limit: int) -> Iterator[str]:
    """About `limit` bytes of text: the beginnings of pieces that lie evenly over the corpus."""
    share = max(limit // len(pieces), SAMPLE_PIECE_BYTES)
    chosen = min(len(pieces), limit // share)
    for number in range(chosen):
        taken = 0
        for text in read(pieces[number * len(pieces) // chosen], layout, rules, Tally()):
            taken += len(text.encode("utf-8", "replace"))
            yield text
            if taken >= share:
                break


def _save(tokenizer: "PreTrainedTokenizerFast", out: Path, work: Path) -> None:
    fresh = work / "tokenizer"
    try:
        tokenizer.save_pretrained(str(fresh))
    except Exception as error:  # tokenizers has nothing narrower for a disk that refuses
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(fresh)) from error
    fresh.rename(out / "tokenizer")


def _run(tasks: Sequence[Sequence[Piece]], out: Path, work: Path, settings: Prepare) -> None:
    """Tokenize; once more the one task that holds the document to hold out, if by chance the share held out none."""
    from electrain.data.engines import run_tasks
    from electrain.data.pipeline import Job, ReadPieces, TokenizeAndSplit

    for rank, pieces in enumerate(tasks):
        path = work / f"plan/{rank:05d}.json"
        if not path.exists():
            path.write_text(json.dumps([asdict(piece) for piece in pieces]))
    for folder in ("train", "validation"):
        (out / folder).mkdir(exist_ok=True)
    vocab = vocab_of(load_tokenizer(out / "tokenizer"))
    while True:
        tally = Tally()
        job = Job(
            folder=str(out),
            layout=settings.layout,
            rules=settings.rules,
            dtype="uint16" if vocab.size < 65536 else "uint32",
            size=vocab.size,
            sep=vocab.sep,
            unk=vocab.unk,
            threshold=_threshold(work, settings),
        )
        steps = [ReadPieces(job, tally), TokenizeAndSplit(job, tally)]
        with shown("Tokenizing", lambda: _look(work, tasks)):
            workers = settings.local_workers() if settings.engine == "local" else settings.workers
            run_tasks(settings.engine, steps, len(tasks), workers, work, settings.cluster)
        if failed := sorted((work / "errors").iterdir()):
            told = json.loads(failed[0].read_text() or "{}")
            if not told:
                raise no_space(out)
            raise Resumable(told["message"]) if told["keep"] else UserError(told["message"])
        lowest = held_out_nothing(collect(work, len(tasks)), settings)
        if lowest is None:
            return
        rank, number = lowest
        replace(work / "threshold", str(number + 1).encode())
        (work / f"datatrove/completions/{rank:05d}").unlink()


def _threshold(work: Path, settings: Prepare) -> int:
    """The hash below which a document is held out."""
    path = work / "threshold"
    return int(path.read_text()) if path.exists() else int(settings.validation * 2**64)


def _look(work: Path, tasks: Sequence[Sequence[Piece]]) -> Done:
    """How far the tasks are, from the files that they write."""
    total = sum(piece.size for pieces in tasks for piece in pieces) or 1
    read = documents = tokens = 0
    for path in (work / "progress").iterdir():
        if not path.name.startswith("."):
            numbers = [int(number) for number in path.read_text().split()]
            read, documents, tokens = read + numbers[0], documents + numbers[1], tokens + numbers[2]
    return Done(min(read / total, 1.0), f"{documents:,} documents, {tokens:,} tokens")
