"""The fuzzer: inputs are repeatable and differ, what must not come out is noticed, a short run is clean."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from electrain.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
READERS = """
text packed jsonl parquet tokenizer.json manifest shards cache.json results squad mrqa predictions table glue conll tags
blimp lines config.json command
"""


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from fuzz import mutate, target, work

    return mutate, target, work


def test_inputs_are_repeatable_and_differ(fuzz) -> None:
    mutate, target, _ = fuzz
    samples = {"a.json": b'{"a": [1, "two", {"b": null}]}', "b.json": b"[]"}
    one = target.Target("x", "", 1, samples, dict.fromkeys(samples, "json"), lambda folder, name: None)
    made = [one.input(3, number) for number in range(2000)]
    assert made == [one.input(3, number) for number in range(2000)]
    assert made != [one.input(4, number) for number in range(2000)]
    contents = {content for _, content in made}
    assert len(contents) > 1000 and None in contents and b"" in contents
    assert {name for name, _ in made} == set(samples)
    valid = 0
    for content in contents - {None}:
        try:
            json.loads(content)
            valid += 1
        except (ValueError, RecursionError):
            pass
    assert 0.1 < valid / len(contents) < 0.9  # trees that reach behind the parser, and bytes that do not
    words = [mutate.arguments(["a", "--b", "c"], ["--d"], Random(number)) for number in range(200)]
    assert len(set(map(tuple, words))) > 100 and not any("\0" in word for made in words for word in made)


def test_what_must_not_come_out_is_noticed(fuzz, tmp_path: Path) -> None:
    _, target, work = fuzz

    def refuse(folder: Path, name: str) -> None:
        raise UserError("a line")

    def say_nothing(folder: Path, name: str) -> None:
        raise UserError("")

    def leave(folder: Path, name: str) -> None:
        (folder / "half").touch()
        raise UserError("a line")

    def fail(folder: Path, name: str) -> None:
        raise ZeroDivisionError("at last")

    def end(folder: Path, name: str) -> None:
        raise SystemExit(1)

    expected = {refuse: set(), say_nothing: {"no message"}, leave: {"left behind"}, fail: {"ZeroDivisionError"}}
    for call, kinds in {**expected, end: {"SystemExit"}}.items():
        made = target.Target("x", "", 1, {"a": b"abc"}, {"a": "bytes"}, call, whole=True)
        tally = work.run(made, work.Chunk("x", 0, 50), tmp_path / call.__name__, 0, [0.0, 0.0])
        assert {kind for kind, _ in tally.findings} == kinds
        assert tally.tried == 50 and tally.refused == (50 if call in (refuse, say_nothing, leave) else 0)
        assert sorted(path.name for path in (tmp_path / call.__name__).iterdir()) == ["a"]


@pytest.mark.slow
def test_a_short_run_is_clean(tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    command = [sys.executable, str(ROOT / "benchmarks/fuzz.py"), "--inputs", "4000", "--seed", "11", "--out", str(out)]
    made = subprocess.run([*command, "--only", *READERS.split()], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    record = json.loads(out.read_text())
    assert record["findings"] == [] and record["inputs"] > 3900
    assert record["refused"] > record["inputs"] / 4 and record["accepted"] > record["inputs"] / 20
    assert record["inputs"] == record["refused"] + record["accepted"]
    assert set(record["targets"]) == set(READERS.split())
