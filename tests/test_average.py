"""The mean of a run's last weights, against NumPy's; which checkpoints it is of, and what the folder says of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import ElectraForPreTraining

from electrain import checkpoint
from electrain.cli import main
from electrain.errors import UserError
from electrain.hub.average import last_of, load_mean
from electrain.hub.export import export
from tests.test_opened import ELECTRA, a_run, tokenizer  # noqa: F401

STEPS = (10, 20, 30, 40)


@pytest.fixture
def run(tmp_path: Path, tokenizer: Path) -> Path:  # noqa: F811
    a_run(tmp_path / "run", tokenizer, ELECTRA, STEPS)
    return tmp_path / "run"


def steps_of(run: Path, end: str, count: int) -> list[int]:
    paths = last_of(run, run / "checkpoints" / end, count, pytest.fail)
    return [checkpoint.step_of(path) for path in paths]


def test_the_mean_is_numpys_and_the_folder_says_of_what(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["export", str(run), "--out", str(out), "--average", "3"])
    saved = [load_file(run / f"checkpoints/step-0000{step}/model.safetensors") for step in STEPS[1:]]
    theirs = dict(ElectraForPreTraining.from_pretrained(out).state_dict())
    for ours, name in (
        ("encoder.embeddings.tokens.weight", "electra.embeddings.word_embeddings.weight"),
        ("encoder.layers.1.up.bias", "electra.encoder.layer.1.intermediate.dense.bias"),
        ("objective.head.out.weight", "discriminator_predictions.dense_prediction.weight"),
    ):
        mean = np.mean([one[ours].numpy().astype(np.float64) for one in saved], 0)
        np.testing.assert_array_equal(theirs[name].numpy(), mean.astype(np.float32))
        assert np.abs(mean - saved[-1][ours].numpy()).max() > 0.01
    assert json.loads((out / "electrain.json").read_text())["steps"] == [20, 30, 40]
    assert "The mean of the weights of 3 checkpoints, steps 20, 30 and 40 of 100;" in (out / "README.md").read_text()
    main(["export", str(run), "--out", str(out)])
    assert json.loads((out / "electrain.json").read_text())["steps"] == [40]
    assert "\nStep 40 of 100;" in (out / "README.md").read_text()


def test_whole_numbers_are_the_last_ones_and_equal_weights_stay(tmp_path: Path) -> None:
    class Counted(nn.Module):
        def __init__(self, count: int, share: float):
            super().__init__()
            self.weight = nn.Parameter(torch.full((3,), 0.1))
            self.register_buffer("count", torch.tensor(count))
            self.register_buffer("share", torch.tensor(share, dtype=torch.float64))

    paths = [
        checkpoint.save(tmp_path, step, made, torch.optim.AdamW(made.parameters()), {})
        for step, made in ((1, Counted(4, 0.25)), (2, Counted(7, 0.5)), (3, Counted(12, 0.9)))
    ]
    made = Counted(0, 0.0)
    load_mean(made, paths)
    assert made.count == 12 and made.share == pytest.approx(0.55, abs=1e-15)
    assert torch.equal(made.weight, torch.full((3,), 0.1))


def test_which_checkpoints(run: Path) -> None:
    assert steps_of(run, "step-000040", 2) == [30, 40]
    assert steps_of(run, "step-000030", 3) == [10, 20, 30]
    assert steps_of(run, "step-000010", 1) == [10]
    # Weights that were saved before the first step were never trained.
    (run / "checkpoints/step-000010").rename(run / "checkpoints/step-000000")
    assert steps_of(run, "step-000040", 3) == [20, 30, 40]
    with pytest.raises(UserError, match=r"holds fewer .* \(20, 30, 40\); train with --keep 4 or more"):
        steps_of(run, "step-000040", 4)


def test_the_best_kept_from_long_ago_is_none_of_the_last(tmp_path: Path) -> None:
    """Whatever --keep says now: it may be another one each time the run is gone on with."""

    def saved(keep: int, *steps: int) -> None:
        model = nn.Linear(1, 1)
        with checkpoint.Saver(tmp_path, keep) as saver:
            for step in steps:
                best = {"loss": 1.0, "checkpoint": "step-000010"}
                saver.save(step, model, torch.optim.AdamW(model.parameters()), {"best": best})
                saver.wait()

    saved(3, 10, 20, 30)
    assert steps_of(tmp_path, "step-000030", 3) == [10, 20, 30]
    saved(2, 40)
    assert [checkpoint.step_of(path) for path in checkpoint.listed(tmp_path)] == [10, 30, 40]
    with pytest.raises(UserError, match=r"\(30, 40\); train with --keep 3 or more"):
        steps_of(tmp_path, "step-000040", 3)
    saved(8, 50, 60)
    assert steps_of(tmp_path, "step-000060", 4) == [30, 40, 50, 60]
    with pytest.raises(UserError, match=r"\(30, 40, 50, 60\); train with --keep 5 or more"):
        steps_of(tmp_path, "step-000060", 5)


def test_too_few_are_refused_in_a_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for count, why in ((0, "--average 0: choose 1"), (5, "(10, 20, 30, 40); train with --keep 5 or more")):
        with pytest.raises(SystemExit) as left:
            main(["export", str(run), "--out", str(tmp_path / "out"), "--average", str(count)])
        said = capsys.readouterr().err
        assert left.value.code == 2 and why in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    (run / "checkpoints/step-000020/model.safetensors").write_bytes(b"no")
    heard: list[str] = []
    export(run, tmp_path / "out", warn=heard.append, average=3)
    assert json.loads((tmp_path / "out" / "electrain.json").read_text())["steps"] == [10, 30, 40]
    assert len(heard) == 1 and "step-000020: damaged" in heard[0]
