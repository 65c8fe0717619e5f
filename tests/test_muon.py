"""Muon against a few lines of NumPy and against PyTorch's, what it is given, and that a run goes on with it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.optim.adam import Adam
from electrain.optim.muon import Both, Muon, orthogonal
from electrain.recipes import optimized
from electrain.recipes.decoupled import electra_decoupled
from electrain.recipes.sizes import TINY
from electrain.recipes.two_stage import electra_two_stage
from electrain.train import pretrain
from tests.test_modern import SIZES, VOCAB
from tests.training import ELECTRA, last, make_data, tiny, weights


def numpy_orthogonal(x: np.ndarray) -> np.ndarray:
    """Jordan et al., 2024, in float64."""
    x = x.T if len(x) > len(x.T) else x
    y = x / np.linalg.norm(x)
    for _ in range(5):
        square = y @ y.T
        y = 3.4445 * y + (-4.7750 * square + 2.0315 * square @ square) @ y
    return y


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
def test_singular_values_become_one(shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape)
    made = orthogonal(x, 5)
    for one, out in zip(x.double().numpy(), made, strict=True):
        wanted = numpy_orthogonal(one)
        wanted = wanted.T if shape[0] > shape[1] else wanted
        np.testing.assert_allclose(out.numpy(), wanted, rtol=1e-4, atol=1e-5)
        u, s, v = np.linalg.svd(one, full_matrices=False)
        close = np.linalg.svd(out.double().numpy(), compute_uv=False)
        assert close.min() > 0.5 and close.max() < 1.3 and s.max() / s.min() > 1.5
        assert np.trace(u.T @ out.double().numpy() @ v.T) > 0.6 * len(s)  # the same singular vectors


def test_the_update_is_pytorch_s() -> None:
    """Which computes in bfloat16. Queries, keys and values are three matrices there."""
    adam = Adam(lr=0.02, warmup=0, weight_decay=0.1, schedule="constant")
    encoder = Modern(replace(SIZES, layers=1), VOCAB)
    ours = Muon(adam).build(encoder)
    assert isinstance(ours, Both)
    layer = encoder.layers[0]
    theirs = {}
    for name, parameter in layer.named_parameters():
        if parameter.dim() == 2:
            pieces = parameter.detach().chunk(3) if "qkv" in name else (parameter.detach(),)
            theirs[name] = [nn.Parameter(piece.clone()) for piece in pieces]
    flat = [piece for pieces in theirs.values() for piece in pieces]
    reference = torch.optim.Muon(flat, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    start = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    for _ in range(3):
        for name, parameter in layer.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            if pieces := theirs.get(name):
                for piece, gradient in zip(pieces, parameter.grad.chunk(len(pieces)), strict=True):
                    piece.grad = gradient.clone()
        ours.step()
        reference.step()
    assert len(theirs) == 4
    for name, pieces in theirs.items():
        moved = layer.get_parameter(name).detach() - start[name]
        wanted = torch.cat([piece.detach() for piece in pieces]) - start[name]
        assert (moved - wanted).norm() < 0.03 * wanted.norm(), name


def test_who_gets_what() -> None:
    """Matrices in layers, the generator's too, are Muon's; each parameter is held once, at the schedule's rate."""
    system = ELECTRA.build(VOCAB)
    how = Muon(Adam(lr=0.1, warmup=0))
    optimizer = how.build(system)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(set(held)) == len(list(system.parameters()))
    muon = {name for name, p in system.named_parameters() if "momentum_buffer" in optimizer.state[p]}
    assert muon == {name for name, p in system.named_parameters() if ".layers." in name and p.dim() == 2}
    assert any(name.startswith("corruptor.") for name in muon)
    assert how.set_rate(optimizer, 5, 10) == {"lr": pytest.approx(0.05)}
    assert {round(group["lr"], 9) for part in optimizer.parts for group in part.param_groups} == {0.05}


def test_matrices_have_a_rate_of_their_own() -> None:
    """From the first step, which no schedule has touched yet, and as the schedule falls."""
    encoder = Modern(SIZES, VOCAB)
    how = Muon(Adam(lr=0.01, warmup=0, schedule="linear"), scale=4.0)
    optimizer = how.build(encoder)
    matrices, rest = optimizer.parts
    for _ in range(2):
        assert {group["lr"] for group in matrices.param_groups} == {0.04}
        assert {group["lr"] for group in rest.param_groups} == {0.01}
        how.set_rate(optimizer, 0, 10)
    assert how.set_rate(optimizer, 5, 10) == {"lr": pytest.approx(0.005)}
    assert [group["lr"] for group in matrices.param_groups] == pytest.approx([0.02, 0.02])


def test_a_bad_step_is_left_out() -> None:
    model = Modern(SIZES, VOCAB)
    optimizer = Muon().build(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    optimizer.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_a_run_goes_on_with_its_momentum(tmp_path: Path) -> None:
    run = tiny(steps=12, save_every=5, optim=Muon(Adam(lr=2e-3, warmup=2)))
    data = make_data(tmp_path / "data")
    pretrain(run, data, tmp_path / "whole")
    pretrain(run, data, tmp_path / "cut")
    shutil.rmtree(last(tmp_path / "cut"))
    pretrain(run, data, tmp_path / "cut")
    whole, cut = weights(last(tmp_path / "whole")), weights(last(tmp_path / "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


def test_bad_settings_are_refused() -> None:
    for change, words in (
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"scale": 0.0}, "scale is 0"),
    ):
        with pytest.raises(UserError, match=words):
            Muon(**change)  # type: ignore[arg-type]


def test_every_recipe_can_have_it() -> None:
    two = optimized(electra_two_stage(TINY), "muon")
    assert two.optim == Muon(electra_two_stage(TINY).optim) and two.first is not None  # type: ignore[arg-type]
    assert isinstance(two.first.optim, Muon) and optimized(two, "adam") == electra_two_stage(TINY)
    with pytest.raises(UserError, match="electra_decoupled has an optimizer of its own"):
        optimized(electra_decoupled(size=TINY), "muon")
