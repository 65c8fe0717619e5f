"""Twenty steps of training, recorded: unchanged mathematics means unchanged losses, killed on the way or not."""

import json
import shutil
from pathlib import Path

import pytest

from electrain import train
from electrain.train import pretrain
from tests.systems.kit import Case, World, all_cases, every_case, run_of
from tests.training import (
    assert_same,
    last,
    make_data,
    one_thread,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("unchecked")  # the contract's tests make the same calls

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "data")


@every_case()
def test_losses_are_the_recorded_ones_killed_or_not(
    case: Case, data: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding, which another machine does otherwise; and bit for bit after a kill before the last checkpoint, where
    what the run was begun from is gone.

    Where a change of the numbers is meant: delete the file, run this test (it writes the file, and fails), look at the
    difference, commit.
    """
    monkeypatch.setattr(train, "Folders", lambda *_: World())
    run, whole, cut = run_of(case, 20, log_every=1), tmp_path / "whole", tmp_path / "cut"
    pretrain(run, data, whole)
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 20 and len(set(losses)) == 20
    file = GOLDEN / f"{request.node.callspec.id}.json"
    if not file.exists():
        file.write_text(json.dumps(losses, indent=0) + "\n")
        pytest.fail(f"{file.name} was not there and is written now: look at it, then run again")
    assert losses == pytest.approx(json.loads(file.read_text()), rel=2e-3)
    shutil.copytree(whole, cut)
    shutil.rmtree(last(cut))
    assert last(cut).name == "step-000016"
    monkeypatch.setattr(World, "masked_lm", None)
    pretrain(run, data, cut)
    assert_same(whole, cut)


def test_there_is_no_record_of_a_system_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(all_cases())
