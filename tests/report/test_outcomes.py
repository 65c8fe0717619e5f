"""Results of fine-tunings and of minimal pairs in a page: as finetune and blimp write them."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from electrain.errors import UserError
from electrain.finetune.results import Result, Results
from electrain.report.outcomes import found, outcomes
from electrain.zeroshot.pairs import Pair, Paradigm
from electrain.zeroshot.results import results, save
from tests.report.test_report import Seen

VALUES = [0.61, 0.67, 0.64]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `electrain finetune --seeds 3 --out judged` and `electrain blimp --out judged` leave."""
    made = Results(
        tmp_path / "judged" / "mrpc", {"untrained": False}, {"model": "runs/<b>mine", "command": "the command"}
    )
    for seed, value in enumerate(VALUES):
        made.add(Result(seed, "accuracy", value, {"dev": {"accuracy": value}}, 0.5, 10, 1.0))
    pairs = [Pair(f"good {i}", f"bad {i}") for i in range(4)]
    scored = results([Paradigm("agreement", "agreement", tuple(pairs))], np.array([[2.0, 1], [2, 1], [2, 1], [1, 2]]))
    save(scored, {"model": "runs/<b>mine", "untrained": False, "by": "rtd"}, tmp_path / "judged", "rtd")
    return tmp_path / "judged"


def test_every_seed_is_found_once(folder: Path) -> None:
    made = found([folder, folder / "mrpc"])
    assert [(one.model, one.task, one.metric, one.values) for one in sorted(made, key=lambda one: one.task)] == [
        ("<b>mine", "BLiMP, by rtd", "accuracy", (0.75,)),
        ("<b>mine", "mrpc", "accuracy", tuple(VALUES)),
    ]
    page = Seen(outcomes(made, ["a run"]) or "")
    spread = f"{100 * statistics.fmean(VALUES):.1f} ± {100 * statistics.stdev(VALUES):.1f}"
    assert spread == "64.0 ± 3.0" and spread in page.words and "75.0" in page.words and "<b>mine" in page.words
    assert len([tag for tag, _ in page.tags if tag == "circle"]) == 3
    assert any("61.0, 67.0, 64.0; the command" in (attributes.get("title") or "") for _, attributes in page.tags)


def test_records_hold_lines_alone(folder: Path) -> None:
    (folder / "bare").mkdir()
    (folder / "mrpc" / "results.jsonl").rename(folder / "bare" / "mrpc.jsonl")
    (folder / "rtd.csv").rename(folder / "bare" / "rtd.csv")
    assert {(one.model, one.task, one.values) for one in found([folder / "bare"])} == {
        ("bare", "mrpc", tuple(VALUES)), ("bare", "BLiMP, by rtd", (0.75,)),
    }  # fmt: skip


def test_other_files_are_no_results(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints" / "mrpc.jsonl").write_text((folder / "mrpc" / "results.jsonl").read_text())
    for name, text in {
        "metrics.jsonl": '{"step": 1, "kind": "train"}\n', "rtd.json": "{", "rtd.csv": "level\n", "a.jsonl": "[1]\n",
        "b.jsonl": json.dumps({"seed": 0, "metric": "m", "value": 7}) + "\n", "c.jsonl": "",
    }.items():  # fmt: skip
        (other / name).write_text(text)
    assert found([other]) == [] and outcomes([], []) is None
    with pytest.raises(UserError, match="there is no such folder"):
        found([tmp_path / "nowhere"])
