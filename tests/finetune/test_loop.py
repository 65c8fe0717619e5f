"""The fine-tuning loop: it learns, it is a function of the seed, and an interruption changes nothing."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from electrain import checkpoint
from electrain.compute import Compute
from electrain.errors import Stopped, UserError
from electrain.finetune import loop
from electrain.finetune.loop import Fitted, fit, predict
from electrain.finetune.settings import Finetune, paper
from tests.finetune.toy import VOCAB, Toy, encoder

HOW = Finetune(
    "model", Path("out"), lr=3e-3, batch=8, compute=Compute(compile=False, device="cpu", dtype="float32", threads=1)
)


def tuned(folder: Path, how: Finetune = HOW, seed: int = 0, count: int = 96) -> Fitted:
    return fit(Toy(count), encoder(), VOCAB, how, seed, folder)


def test_it_learns_what_can_be_seen(tmp_path: Path) -> None:
    fitted = tuned(tmp_path, replace(HOW, epochs=8.0, dropout=0.0), count=192)
    assert fitted.steps == 8 * 24
    said = predict(fitted.model, Toy().rows("dev"), VOCAB, HOW)
    assert Toy().score("dev", said)["accuracy"] > 0.95
    assert fitted.loss < 0.1


def test_predictions_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    fitted = tuned(tmp_path)
    rows = Toy().rows("dev")
    said = predict(fitted.model, rows, VOCAB, HOW)
    for number in (0, 17, 95):
        alone = predict(fitted.model, [rows[number]], VOCAB, HOW)
        np.testing.assert_allclose(said[number][0], alone[0][0], rtol=1e-4, atol=1e-5)


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in fitted.model.state_dict().items()}


def test_a_seed_names_a_fine_tuning(tmp_path: Path) -> None:
    first, again, other = (weights(tuned(tmp_path / str(n), seed=seed)) for n, seed in enumerate((0, 0, 1)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.out.weight"], other["head.out.weight"])


def test_stopped_and_gone_on_with_is_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uncut = tuned(tmp_path / "whole")
    whole = weights(uncut)
    take, calls = loop.Batches.take, []

    def interrupt(self: Any, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 17:  # in the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return take(self, *args)

    monkeypatch.setattr(loop.Batches, "take", interrupt)
    with pytest.raises(Stopped):
        tuned(tmp_path / "cut")
    assert [path.name for path in checkpoint.listed(tmp_path / "cut")] == ["step-000017"]
    monkeypatch.undo()
    again = tuned(tmp_path / "cut")
    resumed = weights(again)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert again.loss == uncut.loss  # of steps before the stop too


def test_a_loss_that_is_not_finite_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not finite at step 48; try a lower --lr"):
        tuned(tmp_path, replace(HOW, lr=1e30, clip=0.0))


def test_the_encoder_that_is_given_stays_as_it_was(tmp_path: Path) -> None:
    inner = encoder()
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    fit(Toy(16), inner, VOCAB, replace(HOW, epochs=1.0), 0, tmp_path)
    assert all(torch.equal(before[name], value) for name, value in inner.state_dict().items())


def test_compiled_once_for_all_lengths_with_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    monkeypatch.setattr(loop, "WORTH", 1)
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **how: compile(*args, **how, backend="eager"))
    how = replace(HOW, epochs=2.0, dropout=0.0)
    plain = weights(tuned(tmp_path / "plain", how, count=44))
    assert not counters["stats"]
    other = weights(tuned(tmp_path / "compiled", replace(how, compute=replace(how.compute, compile=True)), count=44))
    assert counters["stats"]["unique_graphs"] == 1, counters["stats"]
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=2e-5)


def test_the_papers_settings_by_size() -> None:
    """ELECTRA, appendix B: 3e-4 and .8 for Small, 1e-4 and .8 for Base, 5e-5 and .9 for Large."""
    assert [paper(width) for width in (128, 256, 768, 1024)] == [(3e-4, 0.8), (3e-4, 0.8), (1e-4, 0.8), (5e-5, 0.9)]
    optim = replace(HOW, lr=None).optim(256, 200)
    assert (optim.adam.lr, optim.decay, optim.adam.warmup) == (3e-4, 0.8, 20)
    assert optim.adam.weight_decay == 0.0 and optim.adam.clip == 1.0


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"epochs": 0.0}, {"dropout": 1.0}, {"decay": 0.0}, {"length": 3}])
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"finetune: {next(iter(wrong))} is"):
        replace(HOW, **wrong)
