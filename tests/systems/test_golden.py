"""Twenty steps of training, recorded: unchanged mathematics means unchanged losses."""

import json
from pathlib import Path

import pytest

from electrain import train
from electrain.train import pretrain
from tests.systems.kit import Case, World, all_cases, every_case, run_of
from tests.training import (
    make_data,
    one_thread,  # noqa: F401 - a fixture
)

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@every_case()
def test_losses_are_the_recorded_ones(
    case: Case, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding, which another machine does otherwise. Where a change of the numbers is meant: delete the file, run
    this test (it writes the file, and fails), look at the difference, commit.
    """
    monkeypatch.setattr(train, "Folders", lambda *_: World())
    pretrain(run_of(case, 20, log_every=1), make_data(tmp_path / "data"), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 20 and len(set(losses)) == 20
    file = GOLDEN / f"{request.node.callspec.id}.json"
    if not file.exists():
        file.write_text(json.dumps(losses, indent=0) + "\n")
        pytest.fail(f"{file.name} was not there and is written now: look at it, then run again")
    assert losses == pytest.approx(json.loads(file.read_text()), rel=2e-3)


def test_there_is_no_record_of_a_system_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(all_cases())
