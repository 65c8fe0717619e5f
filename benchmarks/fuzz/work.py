"""A worker process: tries inputs, and says of each whether it was read, refused, or neither."""

import contextlib
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from electrain.errors import UserError
from fuzz.target import Target

MEMORY = 4 << 30  # bytes that a worker may use beyond what its imports need
LONGEST = 300  # characters of a finding's message


class Chunk(NamedTuple):
    """Inputs first to last - 1 of a target."""

    target: str
    first: int
    last: int


class Finding(NamedTuple):
    """Something that must not come out, and the input that brings it out."""

    kind: str
    place: str
    message: str
    number: int


@dataclass
class Tally:
    """What became of some inputs; findings by kind and place: the first one, and how many."""

    tried: int = 0
    refused: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: dict[tuple[str, str], tuple[Finding, int]] = field(default_factory=dict)

    def add(self, found: Finding, count: int = 1) -> None:
        first, before = self.findings.get((found.kind, found.place), (found, 0))
        self.findings[found.kind, found.place] = (first, before + count)

    def join(self, other: "Tally") -> None:
        self.tried += other.tried
        self.refused += other.refused
        self.accepted += other.accepted
        self.seconds += other.seconds
        for found, count in other.findings.values():
            self.add(found, count)


def all_targets(world: Path) -> dict[str, Target]:
    """Every target by its name. (Imports what it reads with: seconds.)"""
    from fuzz import command, corpora, folders, models, tasks

    made = [target for part in (corpora, folders, models, tasks, command) for target in part.targets(world)]
    return {target.name: target for target in made}


def work(pipe: Connection, now: Any, world: Path, folder: Path, seed: int) -> None:
    """Serve chunks. `now` holds the number of the input at work and when it was begun, for whoever watches."""
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)  # what native code says there is of no use here
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    targets = all_targets(world)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    while True:
        pipe.send(None)
        chunk: Chunk = pipe.recv()
        pipe.send(run(targets[chunk.target], chunk, folder / chunk.target.replace(" ", "-"), seed, now))


def run(target: Target, chunk: Chunk, folder: Path, seed: int, now: Any) -> Tally:
    """Try the inputs of a chunk, in a folder that is laid out for them."""
    shutil.rmtree(folder, ignore_errors=True)
    lay(target, folder)
    tally, began = Tally(), time.perf_counter()
    before = ""  # the file that the last input changed: it is put back when another one is changed
    for number in range(chunk.first, chunk.last):
        now[0], now[1] = number, time.monotonic()
        name, content = target.input(seed, number)
        if before not in ("", name):
            write(f"{folder}/{before}", target.files[before])
        before = name
        attempt(target, folder, number, name, content, tally)
    now[1] = 0.0
    tally.seconds = time.perf_counter() - began
    return tally


def lay(target: Target, folder: Path) -> None:
    for name, content in target.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write(path: str, content: bytes) -> None:
    """As Path.write_bytes, in less time than most inputs take."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(handle, content)
    finally:
        os.close(handle)


def attempt(target: Target, folder: Path, number: int, name: str, content: bytes | None, tally: Tally) -> None:
    """Try one input."""
    if content is not None:
        write(f"{folder}/{name}", content)
    else:
        (folder / name).unlink()
        if number % 2:
            (folder / name).mkdir()
    tally.tried += 1
    before = everything(folder) if target.whole else []
    try:
        target.call(folder, name)
        tally.accepted += 1
    except UserError as error:
        tally.refused += 1
        if not str(error).strip():
            tally.add(Finding("no message", "", "", number))
        if target.whole and (left := sorted(set(everything(folder)) - set(before))):
            tally.add(Finding("left behind", "", f"{left[:5]} after {error}"[:LONGEST], number))
            shutil.rmtree(folder)
            lay(target, folder)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, a panic of native code too: that is what is looked for
        tally.add(Finding(type(error).__name__, _place(error), str(error)[:LONGEST], number))
    if content is None:
        shutil.rmtree(folder / name, ignore_errors=True)
        write(f"{folder}/{name}", target.files[name])


def everything(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def _place(error: BaseException) -> str:
    """The last of our functions that it went through."""
    with contextlib.suppress(RecursionError):
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if "/electrain/" in frame.filename and "site-packages" not in frame.filename:
                return f"{frame.filename.rpartition('/electrain/')[2]}:{frame.name}"
    return Path(sys.argv[0]).name
