import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from electrain.data import progress
from electrain.data.progress import Done, shown

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_plain_line_now_and_then_where_there_is_no_terminal(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    looked = []

    def look() -> Done:
        looked.append(0)
        return Done(0.5, "7 documents")

    with shown("Working", look):
        while len(looked) < 3:
            pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Working" and lines[1] == "Working: 50%, 7 documents, 0 s"


def test_a_bar_on_a_terminal() -> None:
    code = """
import contextlib, io, sys, time
from electrain.data.progress import Done, shown

before = sys.stderr
with shown("Working", lambda: Done(1.0, "7 documents")):
    with contextlib.redirect_stderr(io.StringIO()):
        time.sleep(0.3)
assert sys.stderr is before
"""
    reader, writer = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", code], stderr=writer, env=environment, check=True, timeout=60)
    os.close(writer)
    said = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert "Working" in said and "100%" in said and "7 documents" in said
