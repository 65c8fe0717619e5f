"""A command given in this process."""

from dataclasses import dataclass

import pytest

from electrain.cli import main


@dataclass(frozen=True)
class Left:
    """How a command left, and what it printed and said."""

    code: int
    printed: str
    said: str


def give(capsys: pytest.CaptureFixture[str], *words: object) -> Left:
    """`electrain WORDS`, as `main` takes them."""
    capsys.readouterr()
    code: object = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code or 0
    printed, said = capsys.readouterr()
    assert isinstance(code, int)
    return Left(code, printed, said)
