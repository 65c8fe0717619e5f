"""What a person sees of work that goes on: on a terminal, in a file, in a notebook; by a clock that the tests turn."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from electrain import progress, train
from electrain.cli import main
from electrain.progress import Bar, Done, Pace, apart, line, shown

ROOT = Path(__file__).resolve().parent.parent


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(progress.time, "monotonic", made)
        yield made


def test_time_left(clock: Clock) -> None:
    pace = Pace(1000.0)
    assert pace.left is None and pace.said == ""
    clock.now += 300  # the first step is slow: it compiles, fills caches, opens files
    pace.mark(501.0)  # of a run that goes on at step 500
    assert pace.left is None
    clock.now += 10
    pace.mark(521.0)
    assert pace.rate == pytest.approx(2.0) and pace.left == pytest.approx(479 / 2)
    with apart():
        clock.now += 1e4  # another variant is compiled
    clock.now += 30
    pace.mark(601.0)
    assert pace.rate == pytest.approx(2.5) and pace.said == "left 0:02:39"
    clock.now += 20  # an evaluation: there will be more of them
    clock.now += 40
    pace.mark(701.0)
    assert pace.rate == pytest.approx(2.0)


def test_a_line_a_minute_where_there_is_no_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(1000, 500)
    for step in range(501, 1001):
        clock.now += 1.0 if step <= 800 else 0.1
        bar.update(step, None)
        if step % 100 == 0:
            bar.update(step, f"loss {step / 100:.2f}")
    bar.close()
    out, err = capsys.readouterr()
    said = err.splitlines()
    assert out == "" and "\x1b" not in err and "\r" not in err
    assert said[0] == "step 560/1,000  left 0:07:20"  # nothing is known yet but that it goes on
    assert said[1] == "step 600/1,000  loss 6.00  left 0:06:40"  # the first words come at once
    assert said[2] == "step 660/1,000  loss 6.00  left 0:05:40"
    assert [text.split()[1] for text in said[3:]] == ["720/1,000", "780/1,000", "1,000/1,000"]
    assert said[-1] == "step 1,000/1,000  loss 10.00  left 0:00:00"


def test_only_the_first_of_several_processes_speaks(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(10, speaks=False)
    for step in range(1, 11):
        clock.now += 100
        bar.update(step, "loss 1")
    bar.close()
    assert capsys.readouterr() == ("", "")


def test_what_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a notebook's kernel sets it
    assert progress.terminal(Screen()) and not progress.terminal(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not progress.terminal(Screen())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("JPY_PARENT_PID", "1")  # `!electrain ...` in a notebook runs on a terminal that is none
    assert not progress.terminal(Screen())


def test_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    line("a\x1b[2J name\r [bold]")
    assert capsys.readouterr().err == "a\\x1b[2J name\\r [bold]\n"


def test_a_plain_line_now_and_then_of_what_is_looked_at(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    looked = []

    def look() -> Done:
        looked.append(0)
        return Done(0.5, "7 documents")

    with shown("Working", look):
        while len(looked) < 3:
            pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Working" and lines[1] == "Working 50%  7 documents  0:00:00"


def drawn(code: str) -> str:
    """What a program writes to a terminal of 100 columns."""
    reader, writer = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("JPY_PARENT_PID", None)
    subprocess.run([sys.executable, "-c", code], stderr=writer, env=environment, check=True, timeout=60)
    os.close(writer)
    said = os.read(reader, 1 << 16).decode()
    os.close(reader)
    return said


def test_a_bar_on_a_terminal_that_others_exchange() -> None:
    said = drawn("""
import contextlib, io, sys, time
from electrain.progress import Done, shown

before = sys.stderr
with shown("Working", lambda: Done(1.0, "7 documents")):
    with contextlib.redirect_stderr(io.StringIO()):
        time.sleep(0.3)
assert sys.stderr is before
""")
    assert "Working" in said and "100%" in said and "7 documents" in said


def test_a_bar_of_steps_on_a_terminal() -> None:
    said = drawn("""
from electrain import progress, train
from electrain.cli import main
from electrain.progress import Bar, line

now = [0.0]
progress.working = lambda: now[0]
bar = Bar(1000, 500)
for step in (501, 511):
    now[0] += 20
    bar.update(step, "loss 1.5  [33] tok/s")
line("a line with [brackets] above it")
bar.close()
""")
    for part in ("step 511/1,000", "left 0:16:18", "loss 1.5  [33] tok/s", "a line with [brackets] above it"):
        assert part in said, part


def test_only_the_first_process_says_where_the_run_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "pretrain", lambda *_: Path("checkpoint"))
    for rank, wanted in (("0", "trained: checkpoint"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        main(["pretrain", "electra_tiny", "--data", "data", "--out", "run"])
        assert capsys.readouterr().out.partition("\n")[0] == wanted
