"""Masked LM after ELECTRA by one command: what the second stage takes, what interrupts it, what it is refused for."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.hub.source import Folders
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.recipes.electra import electra
from electrain.recipes.sizes import SMALL, TINY
from electrain.recipes.then_mlm import electra_then_mlm
from electrain.run import Run
from electrain.source import Source
from electrain.study.budget import complete, operations, step_cost
from electrain.system import System
from electrain.train import pretrain
from tests.training import (
    ENCODER,
    VOCAB,
    assert_same,
    finish,
    last,
    make_data,
    one_thread,  # noqa: F401 - a fixture
    process,
    tiny,
    with_tokenizer,
)

SIZES = replace(ENCODER, dropout=0.0, attention_dropout=0.0)
MASKED = Mask.Config(encoder_start="first")


def run_of(tying: str = "embeddings", **fields: object) -> Run:
    """Eight steps of ELECTRA, eight of masked LM."""
    joint = Joint.Config(width=0.5, tying=tying)  # type: ignore[arg-type]
    first = tiny(System.Config(SIZES, joint, Rtd.Config(), weight=50.0), steps=8, save_every=4)
    second = tiny(System.Config(SIZES, MASKED, Mlm.Config()), steps=8, log_every=2, save_every=3, first=first)
    return replace(second, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(make_data(tmp_path_factory.mktemp("data") / "data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain(run_of(), data, out)
    return out


@pytest.mark.parametrize("tying", ["embeddings", "disentangled"])
def test_the_encoder_is_the_discriminators_and_the_head_fresh(
    tying: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the discriminator's token table is a sum: it is the sum that is taken."""
    begun: dict[str, torch.Tensor] = {}
    start = System.start

    def start_and_look(self: System, source: Source) -> str:
        fresh = {name: tensor.clone() for name, tensor in self.state_dict().items() if name.startswith("objective.")}
        said = start(self, source)
        begun.update({name: tensor.clone() for name, tensor in self.state_dict().items()})
        assert all(torch.equal(begun[name], tensor) for name, tensor in fresh.items())
        return said

    monkeypatch.setattr(System, "start", start_and_look)
    pretrain(run_of(tying), data, tmp_path / "run")
    first = load_file(last(tmp_path / "run" / "first") / "model.safetensors")
    ended = load_file(last(tmp_path / "run") / "model.safetensors")
    theirs = {
        name: tensor for name, tensor in first.items() if name.startswith("encoder.") and "parametriz" not in name
    }
    if tying == "disentangled":
        table = "embeddings.tokens"
        theirs[f"encoder.{table}.weight"] = (
            first[f"encoder.{table}.parametrizations.weight.original"]
            + first[f"corruptor.generator.encoder.{table}.weight"]
        )
    assert len(theirs) > 20
    for name, tensor in theirs.items():
        torch.testing.assert_close(begun[name], tensor, rtol=0, atol=1e-7)
        assert not torch.equal(ended[name], tensor), name
    assert not [name for name in ended if "generator" in name]


def test_killed_and_gone_on_with_is_never_killed(data: Path, whole: Path, tmp_path: Path) -> None:
    """After a checkpoint of the second stage; the first is not needed any more then."""
    out = tmp_path / "run"
    finish(process(run_of(), data, out, 8 + 5, "SIGKILL"), -9)
    assert (out / "metrics.jsonl").exists()
    assert_same(whole / "first", out / "first")
    shutil.rmtree(out / "first" / "checkpoints")
    pretrain(run_of(), data, out)
    assert_same(whole, out)


def test_what_cannot_be_is_one_line(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a stage before this run, and there is none; choose the recipe"):
        pretrain(run_of(first=None), data, tmp_path / "alone")
    assert not (tmp_path / "alone" / "run.json").exists()
    shutil.copytree(whole / "first", tmp_path / "run" / "first")
    other = System.Config(replace(SIZES, heads=1), MASKED, Mlm.Config())
    with pytest.raises(UserError, match="encoder of the first stage's own sizes"):
        pretrain(run_of(system=other), data, tmp_path / "run")
    assert isinstance(Folders(data, whole / "first").encoder(), Encoder)


def test_the_recipe_is_electra_and_a_tenth_of_masked_lm() -> None:
    for size in (TINY, SMALL):
        run = electra_then_mlm(size)
        assert run.first is not None and run.first.steps + run.steps == size.steps and run.steps == size.steps // 10
        assert replace(run.first, recipe="electra", steps=size.steps) == electra(size)
        assert isinstance(run.system, System.Config) and run.system.encoder == run.first.system.encoder


def test_a_study_counts_both_stages(data: Path) -> None:
    run = run_of()
    assert run.first is not None and complete(run, TINY, data) == run
    each = step_cost(run, data, VOCAB), step_cost(run.first, data, VOCAB)
    assert operations(run, data, VOCAB) == 8 * each[0] + 8 * each[1] and each[0] < each[1]
