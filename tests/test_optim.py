"""AdamW against a few lines of NumPy, its groups, the schedules at exact points, and clipping."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from electrain.errors import UserError
from electrain.optim.adam import Adam
from tests.training import ELECTRA, VOCAB


def numpy_adamw(adam: Adam, start: np.ndarray, gradients: np.ndarray, rates: list[float], decay: float) -> np.ndarray:
    """Loshchilov and Hutter, 2019, algorithm 2, in float64; without bias correction as the official ELECTRA code."""
    x, m, v = start.astype(np.float64), 0.0, 0.0
    (b1, b2) = adam.betas
    for n, (g, rate) in enumerate(zip(gradients.astype(np.float64), rates, strict=True), start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        fair = adam.bias_correction
        mean, square = (m / (1 - b1**n), v / (1 - b2**n)) if fair else (m, v)
        x = x - rate * (mean / (np.sqrt(square) + adam.eps) + decay * x)
    return x


@pytest.mark.parametrize("bias_correction", [True, False])
def test_adamw_is_the_paper_s(bias_correction: bool) -> None:
    adam = Adam(lr=3e-3, warmup=3, weight_decay=0.1, betas=(0.8, 0.95), bias_correction=bias_correction)
    model = nn.Linear(7, 5)
    start = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    optimizer = adam.build(model)
    rates = [adam.rate(step, 5) for step in range(5)]
    gradients = {name: np.random.default_rng(1).normal(size=(5, *x.shape)).astype("f4") for name, x in start.items()}
    for step in range(5):
        assert adam.set_rate(optimizer, step, 5) == {"lr": rates[step]}
        for name, parameter in model.named_parameters():
            parameter.grad = torch.from_numpy(gradients[name][step])
        optimizer.step()
    for name, parameter in model.named_parameters():
        decay = {"weight": 0.1, "bias": 0.0}[name]
        wanted = numpy_adamw(adam, start[name], gradients[name], rates, decay)
        np.testing.assert_allclose(parameter.detach().numpy(), wanted, rtol=2e-6, atol=1e-7)
        assert np.abs(wanted - start[name]).min() > 1e-5  # it moved
    steps = {state["step"].item() for state in optimizer.state.values()}
    assert steps == ({5.0} if bias_correction else {2.0**30})


def test_without_bias_correction_the_first_step_is_smaller() -> None:
    moved = {}
    for bias_correction in (True, False):
        model = nn.Linear(3, 3)
        before = model.weight.detach().clone()
        optimizer = Adam(lr=1e-2, weight_decay=0.0, bias_correction=bias_correction).build(model)
        model.weight.grad = torch.ones(3, 3)
        optimizer.step()
        moved[bias_correction] = (before - model.weight).abs().mean().item()
    assert moved[True] == pytest.approx(1e-2, rel=1e-3)
    assert moved[False] == pytest.approx(1e-2 * 0.1 / math.sqrt(0.001), rel=1e-3)  # larger with the default betas


def test_groups_hold_every_parameter_once() -> None:
    system = ELECTRA.build(VOCAB)
    optimizer = Adam(weight_decay=0.07).build(system)
    decayed, plain = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.07, 0.0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(decayed | plain)
    assert decayed | plain == {id(p) for p in system.parameters()}
    for name, parameter in system.named_parameters(remove_duplicate=False):
        bare = name.endswith("bias") or "norm" in name
        assert (id(parameter) in plain) == bare and (id(parameter) in decayed) != bare, name
    assert id(system.encoder.tokens.weight) in decayed
    adam = Adam(lr=0.25, schedule="constant", warmup=0)
    adam.set_rate(optimizer, 0, 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    optimizer.param_groups[1]["scale"] = 0.1
    adam.set_rate(optimizer, 1, 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.025]


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        # 100 steps, 10 of warm-up: the first steps, the peak, the middle of the decay, the last step.
        ("linear", {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 55: 0.5, 99: 1 / 90}),
        ("cosine", {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 55: 0.5, 99: 0.5 - 0.5 * math.cos(math.pi / 90)}),
        ("constant", {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 55: 1.0, 99: 1.0}),
        ("wsd", {0: 0.1, 9: 1.0, 55: 1.0, 80: 1.0, 90: 0.5, 99: 0.05}),
        ("sqrt", {0: 0.1, 9: 1.0, 55: 1.0, 80: 1.0, 85: 0.5, 99: 1 - math.sqrt(0.95)}),
        ("official", {0: 0.1, 4: 0.5 * 0.96, 9: 0.91, 10: 0.9, 55: 0.45, 99: 0.01}),
    ],
)
def test_schedules_at_exact_points(schedule: str, wanted: dict[int, float]) -> None:
    adam = Adam(lr=2e-3, warmup=10, schedule=schedule)  # type: ignore[arg-type]
    for step, share in wanted.items():
        assert adam.rate(step, 100) == pytest.approx(2e-3 * share, rel=1e-9), step
    rates = [adam.rate(step, 100) for step in range(100)]
    peak = rates.index(max(rates))
    assert min(rates) > 0 and rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    for warmup in (0, 100, 1000):  # no warm-up, nothing but warm-up, a run that ends within it
        rates = [Adam(lr=1.0, warmup=warmup, schedule=schedule).rate(s, 100) for s in range(100)]  # type: ignore[arg-type]
        assert all(0 < rate <= 1.0 for rate in rates)
        assert rates[0] == pytest.approx(1 / max(1, warmup))


def test_bad_settings_are_refused() -> None:
    for lr in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match="choose a positive number"):
            Adam(lr=lr)
    with pytest.raises(UserError, match="choose a share above 0"):
        Adam(cooldown=0.0)
    with pytest.raises(UserError, match="choose 0 or more"):
        Adam(warmup=-1)


def test_clip_scales_the_whole_gradient() -> None:
    """A limit, and none where it is 0."""
    model = nn.ParameterList([one := nn.Parameter(torch.zeros(2)), two := nn.Parameter(torch.zeros(1))])
    for limit, wanted in ((1.0, 1.0), (100.0, 13.0), (0.0, 13.0)):
        one.grad, two.grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
        norm = Adam(clip=limit).clip_gradients(model)
        assert norm.item() == 13.0
        assert math.hypot(*one.grad.tolist(), *two.grad.tolist()) == pytest.approx(wanted, rel=1e-5)
