"""Disks that refuse: one clear line, exit code 2, what was good stays good, and it goes on when there is room."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .world import Outcome, World, contents, differing, last, one_line

VERBS = ("pretrain", "prepare", "cache", "finetune", "study")
_ROOM = 64 << 20  # bytes that are enough for everything here
Fault = Callable[[Path], contextlib.AbstractContextManager[None]]


class Refused(Exception):
    """No disk can be made so on this machine."""


def limited(world: World, tries: int) -> Outcome:
    """No file beyond a size (RLIMIT_FSIZE): a checkpoint, a token file, a cache's file is larger."""
    lost = []
    for name in VERBS[:tries]:
        out = world.fresh(f"limited-{name}")
        _begin(world, name, out)
        code, said = world.call(_words(world, name, out), largest=3000)
        lost += _judged(world, name, out, code, said)
    return Outcome(len(VERBS[:tries]), lost)


def full(world: World, tries: int) -> Outcome:
    """A disk (tmpfs) that is full in the middle, then grows."""
    return _mounted(world, tries, "full")


def read_only(world: World, tries: int) -> Outcome:
    """A disk that has become read-only, then can be written again."""
    return _mounted(world, tries, "read-only")


def _mounted(world: World, tries: int, fault: str) -> Outcome:
    lost, notes = [], {}
    for name in VERBS[:tries]:
        disk = world.fresh(f"{fault}-{name}")
        disk.mkdir()
        try:
            with _tmpfs(disk):
                out = disk / "out"
                _begin(world, name, out)
                if fault == "full":
                    # What is there, and a little: not enough for what is still to be written.
                    taken = sum(path.stat().st_blocks * 512 for path in disk.rglob("*"))
                    room = taken + (20 << 10)
                    _remount(disk, f"size={room}")
                    notes[name] = f"{room >> 10} KiB"
                else:
                    _remount(disk, "ro")
                code, said = world.call(_words(world, name, out))
                _remount(disk, f"rw,size={_ROOM}")
                lost += _judged(world, name, out, code, said)
        except Refused as error:
            return Outcome(0, [], skipped=str(error))
    return Outcome(len(VERBS[:tries]), lost, notes)


def quota(world: World, tries: int) -> Outcome:
    """A quota of the user's: needs a file system that keeps them."""
    return Outcome(0, [], skipped="no file system with quotas is at hand; the error (EDQUOT) takes a full disk's way")


def file(world: World, tries: int) -> Outcome:
    """A file where the output folder, or its parent, should be."""
    lost = []
    for name in VERBS[:tries]:
        path = world.fresh(f"file-{name}")
        path.write_text("mine")
        for out in (path, path / "out"):
            code, said = world.call(_words(world, name, out))
            if code != 2 or str(path.name) not in one_line(said):
                lost.append(f"{name}: exit code {code}: {said[-300:]}")
        if path.read_text() != "mine":
            lost.append(f"{name}: the file was changed")
        path.unlink()
    return Outcome(2 * len(VERBS[:tries]), lost)


def _words(world: World, name: str, out: Path) -> list[str]:
    return getattr(world, name)(out)


def _whole(world: World, name: str) -> Path:
    """The same command where nothing goes wrong, once for all cases."""
    out = world.folder / f"whole-{name}"
    if not (out / ".done").exists():
        world.made(_words(world, name, world.fresh(out.name)))
        (out / ".done").touch()
    return out


def _begin(world: World, name: str, out: Path) -> None:
    """Let a run make some checkpoints, for there to be something to lose; other verbs start on an empty folder."""
    _whole(world, name)
    if name != "pretrain":
        return
    running = world.start(_words(world, name, out))
    while running.running() and len(list((out / "checkpoints").glob("step-*"))) < 2:
        time.sleep(0.002)
    running.send(signal.SIGTERM)
    running.wait()


def _judged(world: World, name: str, out: Path, code: int, said: str) -> list[str]:
    """What is wrong with how a command has failed, and with how it goes on when nothing hinders it any more."""
    lost = []
    if code != 2 or not one_line(said):
        lost.append(f"{name}: exit code {code}: {said[-400:]}")
    if name == "pretrain":
        before = last(out)
    code, said = world.call(_words(world, name, out))
    if code:
        return [*lost, f"{name}: does not go on: {said[-400:]}"]
    whole = _whole(world, name)
    if name == "pretrain":
        how = "" if f"going on from {before}" in said else f"did not go on from {before}"
        how = how or differing(whole, out)
    else:
        one, two = dict(contents(whole)), dict(contents(out))
        how = ", ".join(sorted(key for key in {*one, *two} if one.get(key) != two.get(key))[:5])
    return [*lost, f"{name}: {how}"] if how else lost


@contextmanager
def _tmpfs(folder: Path) -> Iterator[None]:
    if os.geteuid() != 0 or not shutil.which("mount"):
        raise Refused("only root may mount a disk")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True, capture_output=True)
