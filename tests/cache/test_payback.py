"""What `electrain cache` prints at its end: the arithmetic by hand, the figures against the files."""

import re
from itertools import count
from pathlib import Path

import pytest

from electrain.cache import payback
from electrain.cache.payback import Payback, in_turn
from electrain.cli import main
from tests.cache.conftest import cache
from tests.training import one_thread  # noqa: F401 - a fixture

# 1,100 rows at 4 a second take 275 s; 1,000 rows are 100 batches, each of which saves 0.5 s of 0.6: 50 s an epoch.
FIGURES = Payback(
    rows=1100, train=1000, selections=4, tokens=128, size=2_816_000, made=0.25, live=0.6, read=0.1, batch=10
)


def test_after_how_many_epochs() -> None:
    assert FIGURES.saved == pytest.approx(50) and FIGURES.epochs == pytest.approx(5.5)
    said = FIGURES.describe()
    for words in ("4.0, each with 4 selections", "20.0, all selections", "0.003 GB", "after 5.5 epochs", "275.0 s, an"):
        assert words in said, said
    assert "saves 50.0 s" in said and "60.000 ms" in said and "10.000 ms" in said


def test_a_cache_that_is_slower_never_pays() -> None:
    slow = Payback(**{**vars(FIGURES), "read": 0.7})
    assert slow.saved == pytest.approx(-10) and slow.epochs == float("inf") and "never here" in slow.describe()


def test_calls_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the calls move: the first two of each are left out, the middle one of the others counts."""
    now, order = [0.0], []
    monkeypatch.setattr(payback.time, "perf_counter", lambda: now[0])

    def takes(name: str, seconds: list[float]):
        def call(number: int) -> None:
            order.append((name, number))
            now[0] += seconds[number]

        return call

    times = in_turn((takes("a", [9, 9, 1, 3, 2, 0]), takes("b", [8, 8, 4, 6, 5, 0])), count(), seconds=1.0)
    assert times == (2, 5)
    assert order == [(name, number) for number in range(5) for name in "ab"]


def test_the_tool_prints_it(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = cache(world, tmp_path / "cache", "--rows", 40)
    main(words)
    said = capsys.readouterr().out
    assert re.search(r"rows a second +[\d,.]+, each with 2 selections\n", said), said
    size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.rec"))
    assert f"bytes a token    {size / (80 * 16):.1f}, all" in said and "pays for itself" in said
    assert re.search(r"the generator takes \d+\.\d+ ms .*\n.*the cache \d+\.\d+ ms ", said), said
    main(words)
    assert "pays for itself" not in capsys.readouterr().out, "a cache that is finished was timed again"
