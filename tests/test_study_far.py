"""How far a study is, by the logs of its runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from electrain.study.far import far
from electrain.study.workers import Job
from tests.training import tiny


def test_how_far_a_study_is(tmp_path: Path) -> None:
    run = replace(tiny(steps=100), recipe="one")
    two = replace(tiny(steps=60), recipe="two", first=tiny(steps=40))
    names = {"one-seed0": run, "two-seed0": two, "untrained-seed0": run, "one-seed1": run}
    jobs = [Job(name, print, (made, tmp_path, tmp_path / name, 8), tmp_path / "log") for name, made in names.items()]
    assert far(jobs, []).share == 0 and far(jobs, []).note == "0 of 4 runs"
    for name, lines in {
        "one-seed0": '{"step": 50, "kind": "train"}\n{"step": 75, "kind": "tr',
        "two-seed0": '{"step": 10}\n',
        "two-seed0/first": '{"step": 40}\n\x00',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(lines)
    said = far(jobs, ["untrained-seed0"])
    assert said.share == pytest.approx((50 + 10 + 40 + 1) / 301)
    assert said.note == "1 of 4 runs, one-seed0 50/100, two-seed0 50/100"
    assert far(jobs, list(names)).share == 1
