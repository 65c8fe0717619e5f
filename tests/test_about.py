"""What a run says of itself before its first step, counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from electrain.about import about
from electrain.corruptors.unigram import Unigram
from electrain.data.shards import Shards
from electrain.growth import Growth
from electrain.hub.source import Folders
from electrain.loading import training
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.optim.base import Optim
from electrain.optim.decoupled import Decoupled
from electrain.optim.muon import Muon
from electrain.run import Run
from electrain.system import System
from electrain.train import pretrain
from tests.training import (
    ELECTRA,
    ENCODER,
    VOCAB,
    make_data,
    one_thread,  # noqa: F401 - a fixture
    tiny,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "data")


def said(run: Run, data: Path) -> list[str]:
    return about(run, run.system.build(VOCAB), training(run, Shards.open(data), Folders(data)), CPU)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in {*module.parameters()} if parameter.requires_grad)


def test_shared_and_frozen_parameters_are_counted_once_and_not_at_all(data: Path) -> None:
    system = ELECTRA.build(VOCAB)
    shared = {*system.corruptor.parameters()} & {*system.encoder.parameters()}
    own = size(system.corruptor) - sum(parameter.numel() for parameter in shared)
    assert shared and own > 0
    words = f"tiny: {size(system):,} parameters are trained (model {size(system) - own:,}, generator {own:,})"
    assert said(tiny(), data)[0] == f"{words}; cpu, 1 thread; float32"
    alone = System.Config(ENCODER, Unigram.Config(), Rtd.Config()).build(VOCAB)
    alone.encoder.layers[0].requires_grad_(False)
    line = about(tiny(), alone, training(tiny(), Shards.open(data), Folders(data)), CPU)[0]
    assert line.startswith(f"tiny: {size(alone):,} parameters are trained; cpu")


@pytest.mark.parametrize("growth", [Growth(), Growth(4, 0.5, 4, 0.25)])
def test_passes_are_epochs_of_the_loader(data: Path, growth: Growth) -> None:
    run = tiny(steps=100, accumulate=2, growth=growth)
    loader = training(run, Shards.open(data), Folders(data))
    begins, short = loader.shorter or (0, loader)
    parts = [short if step < begins else loader for step in range(100)]
    passes = sum(part.rows(step)[0].size / part.packing.rows for step, part in enumerate(parts))
    grown = ", once they have grown" if growth.rows else ""
    tokens = sum(part.rows(step)[0].size * part.packing.length for step, part in enumerate(parts))
    words = f"100 steps of 8 rows of 16 tokens{grown}: {tokens:,} tokens, {passes:,.2f} passes over the training data"
    assert said(run, data)[1:] == [words] and passes > 1
    if growth == Growth():
        assert loader.rows(99)[1].max() == np.floor(passes)


@pytest.mark.parametrize(
    "optim, names",
    [
        (Adam(warmup=10), []),
        (Adam(lr=0.002, warmup=11), ["optim.warmup"]),
        (Muon(Adam(lr=0.002, warmup=11)), ["optim.adam.warmup"]),
        (Decoupled(Adam(warmup=3), Adam(lr=0.002, warmup=11)), ["optim.generator.warmup"]),
    ],
)
def test_a_warm_up_that_the_run_is_too_short_for_is_told(data: Path, optim: Optim, names: list[str]) -> None:
    warnings = said(tiny(steps=10, optim=optim), data)[2:]
    assert warnings == [
        f"warning: the warm-up ({name}) takes 11 steps and the run 10: the learning rate never reaches 0.002; "
        "choose a shorter one"
        for name in names
    ]


@pytest.mark.parametrize("schedule", ["wsd", "sqrt"])
@pytest.mark.parametrize("warmup, told", [(8, False), (9, True)])
def test_a_cooldown_that_begins_before_the_warm_up_ends_is_told(
    data: Path, schedule: Literal["wsd", "sqrt"], warmup: int, told: bool
) -> None:
    adam = Adam(lr=0.002, warmup=warmup, schedule=schedule, cooldown=0.3)
    assert (max(adam.rate(step, 10) for step in range(10)) < adam.lr) == told
    warning = (
        "warning: the warm-up (optim.warmup) takes 9 steps and the cooldown (optim.cooldown) begins after 8: "
        "the learning rate never reaches 0.002; choose a shorter one"
    )
    assert said(tiny(steps=10, optim=adam), data)[2:] == [warning] * told


def test_a_run_says_it_first_and_once(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny(steps=4)
    lines = said(run, data)
    assert len(lines) == 3 and "warning: " in lines[2]
    pretrain(run, data, tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[:3] == lines
    pretrain(replace(run, log_every=2), data, tmp_path / "run")
    assert "parameters are trained" not in capsys.readouterr().err  # there is nothing to do
