"""What a person can choose about `electrain prepare`; the docstring under a field is its help."""

import importlib.util
import math
import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

from electrain.data.corpus import BUILTIN, Documents, Layout
from electrain.data.reading import Rules
from electrain.data.tokenizer import SMALLEST, Kind
from electrain.errors import UserError

VOCAB_SIZE = 30522


@dataclass(frozen=True)
class Cluster:
    """What Slurm or Ray has to be told."""

    partition: str = ""
    """Slurm partition that the tasks go to."""
    time: str = "24:00:00"
    """Slurm's time limit for one task."""
    qos: str = ""
    """Slurm quality of service; empty for the cluster's default."""
    cpus: int = 1
    """CPUs for one task (Slurm, Ray)."""
    memory_gb: int = 4
    """Memory for each of these CPUs, in GB (Slurm, Ray)."""
    setup: str = ""
    """Shell command that a Slurm task gives first; empty puts this Python's folder in front of PATH."""


@dataclass(frozen=True)
class Prepare:
    """Turn text into what training reads: a tokenizer, token files, a manifest."""

    corpus: tuple[str, ...]
    """Where the text is: files (plain text, .jsonl, .parquet; also .gz and .zst), folders, globs, Hub data sets
    (owner/name, or hub:NAME), or builtin: the documentation in this Python installation."""
    out: Path
    """Folder to make. One that is unfinished with the same settings is gone on with."""
    repeat: tuple[float, ...] = ()
    """How often each source is seen in one epoch, one number a source: 1 2.5. No copies are made."""
    text_column: str = "text"
    """Column of .parquet and Hub data sets, or key of .jsonl, that holds the text."""
    documents: Documents = "files"
    """What a document is in a plain text file: the whole file, what lies between blank lines, or each line."""
    hub_config: str = ""
    """Configuration of the Hub data set; empty for its default."""
    hub_split: str = "train"
    """Split of the Hub data set."""
    tokenizer: str | None = None
    """A fast tokenizer: Hub name, folder, or tokenizer.json. Without it one is trained on the corpus."""
    vocab_size: int | None = None
    """Size of the tokenizer to train (30522 if nothing is said)."""
    vocab_kind: Kind = "wordpiece-uncased"
    """Kind of the tokenizer to train; bytes is byte-level BPE."""
    min_frequency: int = 2
    """A pair that occurs less often in the corpus makes no new token."""
    tokenizer_sample: int = 256_000_000
    """Bytes of text, spread over the corpus, that the tokenizer is trained on at most."""
    validation: float = 0.005
    """Share of the documents to hold out, chosen by a hash of their text; 0 holds out none."""
    max_document_bytes: int = 16_000_000
    """A longer document needs more memory than a worker should have (about 80 times its length)."""
    long: Literal["refuse", "split", "drop"] = "refuse"
    """What to do with a longer document."""
    invalid: Literal["refuse", "skip"] = "refuse"
    """What to do with a document that is not valid UTF-8, or a line that is not valid JSON."""
    engine: Literal["local", "slurm", "ray"] = "local"
    """Where to tokenize."""
    workers: int = 0
    """Tasks that run at the same time; 0 for as many as there are CPUs (local), or no limit (Slurm, Ray)."""
    cluster: Cluster = field(default_factory=Cluster)

    def check(self) -> None:
        """UserError if the fields contradict each other or are out of range."""
        if not self.corpus:
            raise UserError("--corpus: name at least one source (a file, a folder, a Hub data set, or builtin)")
        if len(set(self.corpus)) != len(self.corpus):
            raise UserError("--corpus names a source twice; to see it more often, use --repeat")
        if self.repeat and len(self.repeat) != len(self.corpus):
            raise UserError(
                f"--repeat: {len(self.repeat)} numbers for {len(self.corpus)} sources; give one for each "
                "(a glob is one source in quotes; else the shell makes a source of each file)"
            )
        if not all(math.isfinite(number) and 0 < number <= 1000 for number in self.repeat):
            raise UserError("--repeat: each number must be above 0 and at most 1000")
        if self.tokenizer is not None and self.vocab_size is not None:
            raise UserError("--tokenizer and --vocab-size exclude each other; the size is that of a tokenizer to train")
        if self.vocab_size is not None and not SMALLEST <= self.vocab_size <= 2**24:
            raise UserError(f"--vocab-size {self.vocab_size}: must be {SMALLEST} to {2**24}")
        if not 0 <= self.validation <= 0.5:
            raise UserError(f"--validation {self.validation}: must be a share from 0 to 0.5, 0.01 for one percent")
        for name, least in (("min_frequency", 1), ("max_document_bytes", 1000), ("workers", 0)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} {getattr(self, name)}: must be at least {least}")
        if self.tokenizer_sample < 1_000_000:
            raise UserError(f"--tokenizer-sample {self.tokenizer_sample}: must be at least 1000000 bytes")
        if self.engine == "slurm" and not self.cluster.partition:
            raise UserError("--engine slurm: name the partition with --cluster.partition")
        for program in ("sbatch", "squeue") if self.engine == "slurm" else ():
            if shutil.which(program) is None:
                raise UserError(f"--engine slurm: {program} is not found; give the command where Slurm's programs are")
        if self.engine == "ray" and importlib.util.find_spec("ray") is None:
            raise UserError('--engine ray: Ray is not installed; install it with: pip install "electrain[ray]"')
        for name in ("cpus", "memory_gb"):
            if getattr(self.cluster, name) < 1:
                flag = name.replace("_", "-")
                raise UserError(f"--cluster.{flag} {getattr(self.cluster, name)}: must be at least 1")
        if self.engine != "local" and self.workers == 0 and self.corpus == (BUILTIN,):
            raise UserError("--corpus builtin is a matter of seconds on this machine; leave --engine out")

    @property
    def layout(self) -> Layout:
        return Layout(self.text_column, self.documents, self.hub_config, self.hub_split)

    @property
    def rules(self) -> Rules:
        return Rules(self.invalid, self.long, self.max_document_bytes)

    def repeats(self) -> tuple[float, ...]:
        """One number a source."""
        return self.repeat or (1.0,) * len(self.corpus)

    def local_workers(self) -> int:
        """The processes to use on this machine."""
        if self.engine == "local" and self.workers:
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def identity(self) -> dict[str, object]:
        """What makes the result what it is: everything but where it lies, where it is computed, and by how many."""
        chosen = asdict(self)
        for name in ("out", "engine", "workers", "cluster"):
            del chosen[name]
        chosen["repeat"] = list(self.repeats())
        chosen["corpus"] = list(self.corpus)
        if self.tokenizer is None:
            chosen["vocab_size"] = self.vocab_size or VOCAB_SIZE
        return chosen


def command(out: Path, identity: Mapping[str, object]) -> str:
    """The command that goes on with the preparation of this identity in `out`."""
    words = ["electrain", "prepare"]
    for option in fields(Prepare):
        value = identity.get(option.name)
        values = value if isinstance(value, list) else [value]
        usual = {"repeat": 1.0, "vocab_size": VOCAB_SIZE}.get(option.name, option.default)
        if value is not None and any(one != usual for one in values):
            words += [f"--{option.name.replace('_', '-')}", *map(str, values)]
    return shlex.join([*words, "--out", str(out)])
