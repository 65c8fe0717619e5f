"""One process at a time writes to a folder: the second is told who the first is.

The kernel's lock on a file in the folder (flock) decides. It ends with its process, however that ends, and with the
machine: what a dead process leaves behind is an unlocked file, and a new process with its number is not mistaken for
it. The file says who holds it. A network file system may keep such locks for each machine apart, or not at all; the
holder therefore gives a sign of life on the file every ten seconds, and a file that another machine has left is taken
over only when none comes for half a minute.
"""

import contextlib
import errno
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from electrain.errors import UserError

NAME = ".lock"
BEAT = 10.0  # seconds between two signs of life
SILENT = 3.0  # beats without one, after which the process on another machine is taken for dead
LONG = 3600.0  # seconds without one that no difference between two clocks explains: no wait then
PATIENCE = 5.0  # seconds for what a killed process had started to end


@dataclass(frozen=True)
class Holder:
    """What the file says of the process that holds the lock, or has held it when it died.

    machine: of one start of one machine (Linux's boot id); `started`: of the process, in the machine's ticks
    """

    host: str
    machine: str
    pid: int
    started: int
    since: str
    verb: str

    def __str__(self) -> str:
        return f"electrain {self.verb} (host {self.host}, pid {self.pid}, since {self.since})"

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, under the same kernel as this process."""
        return self.machine == _machine()

    @property
    def alive(self) -> bool:
        """Whether the process is there; only a process `here` can be looked for."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _started(self.pid) == self.started


@contextmanager
def locked(folder: Path, verb: str, name: str = NAME) -> Iterator[None]:
    """Hold `folder` while the block runs; it is made if it is not there, and goes again if it is empty then.

    Of several ranks only one may call this. UserError if another process holds it, naming its host, number and start;
    or if the folder cannot be written to.
    """
    path = folder / name
    made = [parent for parent in (path.parent, *path.parent.parents) if not os.path.exists(parent)]
    handle = _acquired(folder, path, verb)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(handle, ended), daemon=True, name="electrain-lock")
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(OSError):
            if _same(handle, path):  # removed while it is held, so that a file that is there and free is a dead one's
                path.unlink()
        os.close(handle)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def holder(folder: Path, name: str = NAME) -> Holder | None:
    """Who writes to `folder`, by its signs of life; None if nobody does, or the file cannot be read."""
    path = folder / name
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _read(handle) if time.time() - os.fstat(handle).st_mtime < SILENT * BEAT else None
    finally:
        os.close(handle)


def _acquired(folder: Path, path: Path, verb: str) -> int:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and time.monotonic() < until:
                continue  # the folder went with the one that had made it
            raise _unwritable(folder, error) from error
        try:
            free = _flock(handle)
            if free and not _same(handle, path):  # its holder has removed it meanwhile: lock the one that is there now
                os.close(handle)
                continue
            holder = _read(handle)
            if free is False:
                if (holder is None or (holder.here and not holder.alive)) and time.monotonic() < until:
                    os.close(handle)  # just taken, or just killed
                    time.sleep(0.05)
                    continue
                raise _refused(folder, path, holder)
            if holder is not None:
                _check_dead(folder, path, holder, kernel=free is True)
            _write(handle, folder, verb)
            return handle
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise


def _flock(handle: int) -> bool | None:
    """Whether the kernel gives the lock; None if it knows none on this file system."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL):
            return None
        raise
    return True


def _check_dead(folder: Path, path: Path, holder: Holder, *, kernel: bool) -> None:
    """UserError if the process that the file names lives. `kernel`: its lock is free, as far as this machine knows."""
    if holder.here:
        if not kernel and holder.alive:
            raise _refused(folder, path, holder)
        return
    last = _touched(path)
    if time.time() - last > LONG:
        return
    seconds = SILENT * BEAT
    print(f"{folder}: {holder} has left a lock; waiting {seconds:.0f} s for a sign of life", file=sys.stderr)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(BEAT / 10)
        if _touched(path) != last:
            raise _refused(folder, path, holder)


def _touched(path: Path) -> float:
    # Opened anew each time: a client of NFS asks its server for a file's time when it opens it.
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0.0
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)


def _beat(handle: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _read(handle: int) -> Holder | None:
    try:
        holder = Holder(**json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):
        return None
    return holder if isinstance(holder.pid, int) and 0 < holder.pid < 2**31 else None


def _write(handle: int, folder: Path, verb: str) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    holder = Holder(os.uname().nodename, _machine(), os.getpid(), _started(os.getpid()), since, verb)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written to ({error.strerror}); choose another --out, or see to that one")


def _refused(folder: Path, path: Path, holder: Holder | None) -> UserError:
    who = str(holder or "another electrain")
    if holder is None:
        what = "wait for it"
    elif not holder.here:
        what = f"wait for it, or, if that machine is gone, delete {path}"
    elif not holder.alive:
        what = "that process is gone, but one that it started is still at work: wait for that, or stop it"
    else:
        what = "wait for it, or stop it"
    return UserError(f"{folder}: {who} is writing there; {what}; or choose another --out")


def _machine() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


def _started(pid: int) -> int:
    """When a process was started, in ticks of this machine; 0 where that is not told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
