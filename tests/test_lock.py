"""One process a folder: real processes, really killed; another machine is one that the file names."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from electrain import lock
from electrain.errors import UserError
from electrain.lock import NAME, locked

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import sys, time
from pathlib import Path
from electrain.lock import locked
with locked(Path(sys.argv[1]), "pretrain"):
    print("held", flush=True)
    sys.stdin.readline()
"""
# Leaves a process behind that has the lock's file open, as a worker made by a plain fork would.
FORK = """
import os, sys, time
from pathlib import Path
from electrain.lock import locked
with locked(Path(sys.argv[1]), "prepare"):
    if not (child := os.fork()):
        os.close(1)
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


@pytest.fixture
def start(out: Path) -> Iterator[Start]:
    """Starts a program on the folder; what is still there at the end is killed."""
    started = []

    def begin(code: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running = subprocess.Popen([sys.executable, "-c", code, str(out)], env=environment, **pipes)
        started.append(running)
        return running

    yield begin
    for running in started:
        running.kill()
        running.communicate()


def said(running: "subprocess.Popen[str]") -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def refusal(out: Path) -> str:
    with pytest.raises(UserError) as caught, locked(out, "pretrain"):
        pytest.fail("two processes hold one folder")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_second_is_told_host_number_and_start_of_the_first(out: Path, start: Start) -> None:
    running = start(HOLD)
    assert said(running) == "held"
    line = refusal(out)
    assert f"electrain pretrain (host {os.uname().nodename}, pid {running.pid}, since 20" in line and str(out) in line
    running.communicate("\n")
    assert not out.parent.exists()  # both were made for the lock, and nothing else came
    with locked(out, "pretrain"):
        assert [path.name for path in out.iterdir()] == [NAME]


def test_what_lies_in_the_folder_stays(out: Path) -> None:
    with locked(out, "pretrain"):
        (out / "run.json").write_text("{}")
    assert [path.name for path in out.iterdir()] == ["run.json"]
    with pytest.raises(ZeroDivisionError), locked(out, "pretrain"):
        _ = 1 / 0
    assert [path.name for path in out.iterdir()] == ["run.json"]


def test_a_killed_process_holds_nothing(out: Path, start: Start) -> None:
    running = start(HOLD)
    assert said(running) == "held"
    running.kill()
    running.wait()
    assert json.loads((out / NAME).read_text())["pid"] == running.pid
    with locked(out, "pretrain"):
        assert json.loads((out / NAME).read_text())["pid"] == os.getpid()
    assert list(out.iterdir()) == []


def test_what_a_killed_process_had_started_is_waited_for(
    out: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(FORK)
    child = int(said(running))
    running.kill()
    running.wait()
    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    assert f"pid {running.pid}" in (line := refusal(out)) and "one that it started is still at work" in line
    monkeypatch.setattr(lock, "PATIENCE", 30.0)
    threading.Timer(0.2, os.kill, (child, signal.SIGKILL)).start()
    with locked(out, "prepare"):
        pass


def write(out: Path, **fields: object) -> None:
    """The file as another process has left it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / NAME).write_text(json.dumps({"host": "node7", "machine": "another", "pid": os.getpid()} | fields))


DEAD = {"started": 1, "since": "then", "verb": "pretrain"}


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(out: Path) -> None:
    with locked(out, "pretrain"):
        left = json.loads((out / NAME).read_text())
    assert left["pid"] == os.getpid()
    write(out, **(left | {"started": left["started"] + 1}))
    with locked(out, "pretrain"):
        pass
    # Where the kernel knows no locks, number and start are all there is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_flock", lambda _: None)
        write(out, **(left | {"started": left["started"] + 1}))
        with locked(out, "pretrain"):
            pass
        write(out, **left)
        assert f"pid {os.getpid()}" in refusal(out)


def test_a_lock_of_another_machine_is_taken_over_when_no_sign_of_life_comes(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.1)
    write(out, **DEAD)
    with locked(out, "pretrain"):
        assert json.loads((out / NAME).read_text())["host"] == os.uname().nodename
    assert "electrain pretrain (host node7, pid " in (told := capsys.readouterr().err) and told.count("\n") == 1
    write(out, **DEAD)
    os.utime(out / NAME, (1e9, 1e9))  # for years: that needs no wait
    with locked(out, "pretrain"):
        pass
    assert not capsys.readouterr().err


def test_a_process_on_another_machine_that_gives_signs_of_life_is_left_alone(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.1)
    write(out, **DEAD)
    ended = threading.Event()

    def live() -> None:
        with (out / NAME).open("rb+") as file:
            lock._beat(file.fileno(), ended)

    thread = threading.Thread(target=live)
    thread.start()
    line = refusal(out)
    ended.set()
    thread.join()
    assert "host node7" in line and f"if that machine is gone, delete {out / NAME}" in line


def test_the_holder_gives_signs_of_life(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with locked(out, "pretrain"):
        seen = set()
        while len(seen) < 3:
            seen.add((out / NAME).stat().st_mtime_ns)
            time.sleep(0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"pid": 3}',
        json.dumps({**DEAD, "host": "", "machine": "", "pid": 2**70}).encode(),
        b"\xff" * 9000,
    ],
)
def test_a_file_of_others_or_cut_short_is_taken_over(out: Path, content: bytes) -> None:
    out.mkdir(parents=True)
    (out / NAME).write_bytes(content)
    with locked(out, "pretrain"):
        assert json.loads((out / NAME).read_text())["pid"] == os.getpid()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"cannot be written to \(.*\); choose another --out"), locked(out, "cache"):
            pytest.fail("held")
    assert (tmp_path / "file").read_text() == "mine"


RACE = """
import sys, time
from pathlib import Path
from electrain.errors import UserError
from electrain.lock import locked
out, count = Path(sys.argv[1]), 0
until = time.monotonic() + 1.5
while time.monotonic() < until:
    try:
        with locked(out, "pretrain"):
            (out / "inside").mkdir()  # fails if another is inside
            (out / "inside").rmdir()
            count += 1
    except UserError:
        pass
print(count)
"""


def test_many_that_come_and_go_are_never_two_inside(out: Path, start: Start) -> None:
    running = [start(RACE) for _ in range(3)]
    counts = [int(said(one)) for one in running]
    assert all(one.wait() == 0 for one in running) and sum(counts) > 30
