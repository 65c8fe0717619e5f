"""Decoupled optimizers: the weight between two losses changes nothing where no weight is shared."""

import math

import pytest
import torch
from torch import Tensor

from electrain.corruptors.joint import Joint
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.optim.base import Optim
from electrain.optim.decoupled import Decoupled
from electrain.system import System
from tests.systems.kit import batch
from tests.training import (
    ENCODER,
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

STEPS = 12
# Adam divides by the root of the mean square plus epsilon: only without it is a gradient's size lost altogether. One so
# small vanishes beside every root in float32, and still keeps rows of the table that were never read from 0 / 0.
SCALELESS = {"lr": 2e-3, "warmup": 3, "eps": 1e-30}


def trained(optim: Optim, weight: float) -> dict[str, Tensor]:
    """Every weight after a few updates with `weight` (lambda) on the discriminator's loss; nothing is shared."""
    torch.manual_seed(1)
    system = System.Config(ENCODER, Joint.Config(width=0.5, tying="none"), Rtd.Config(), weight=weight).build(VOCAB)
    optimizer = optim.build(system)
    for step in range(STEPS):
        optim.set_rate(optimizer, step, STEPS)
        system(batch(step), torch.full((), step / STEPS)).loss.backward()
        optim.clip_gradients(system)
        optimizer.step()
        optimizer.zero_grad()
    weights = {name: p.detach() for name, p in system.named_parameters()}
    for name, value in weights.items():
        if name.endswith("qkv.bias"):  # of keys: softmax does not see them, and Adam makes steps of pure rounding
            value.view(3, -1)[1] = 0.0
    return weights


def apart(one: dict[str, Tensor], other: dict[str, Tensor], part: str) -> float:
    """Root mean square of the difference over a part's weights, as a share of the distance that they may have moved."""
    different = [(one[name] - other[name]).flatten() for name in one if name.startswith(part)]
    return torch.cat(different).square().mean().sqrt().item() / (SCALELESS["lr"] * STEPS)


def test_the_weight_changes_nothing() -> None:
    """Bit for bit at 64, a power of two; at 50 to rounding."""
    free = Decoupled(Adam(**SCALELESS, clip=0.0), Adam(**SCALELESS, clip=0.0))
    one, fifty, binary = (trained(free, weight) for weight in (1.0, 50.0, 64.0))
    assert all(torch.equal(one[name], binary[name]) for name in one)
    assert apart(one, fifty, "corruptor.") == 0.0
    assert apart(one, fifty, "") < 1e-5


def test_the_generator_never_sees_the_weight_and_with_one_clip_it_does() -> None:
    """ELECTRA's single optimizer clips both gradients by their common norm, where the larger loss rules."""
    clipped = Adam(**SCALELESS, clip=1.0)
    alone, together = ({w: trained(optim, w) for w in (1.0, 50.0)} for optim in (Decoupled(clipped, clipped), clipped))
    assert apart(alone[1.0], alone[50.0], "corruptor.") == 0.0
    assert apart(together[1.0], together[50.0], "corruptor.") > 0.005


def test_each_part_has_its_own_settings() -> None:
    ours = Adam(lr=1e-2, warmup=0, schedule="constant", betas=(0.8, 0.9), weight_decay=0.1)
    theirs = Adam(lr=1e-3, warmup=4, schedule="linear", betas=(0.7, 0.95), weight_decay=0.2, bias_correction=False)
    optim = Decoupled(ours, theirs)
    system = System.Config(ENCODER, Joint.Config(width=0.5), Rtd.Config()).build(VOCAB)
    optimizer = optim.build(system)
    assert optim.set_rate(optimizer, 1, 10) == {"lr": 1e-2, "lr_generator": theirs.rate(1, 10)}
    assert theirs.rate(1, 10) == pytest.approx(5e-4)
    named = {parameter: name for name, parameter in system.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            generator = named[parameter].startswith("corruptor.")
            adam = theirs if generator else ours
            assert (group["lr"], group["betas"]) == ((5e-4, (0.7, 0.95)) if generator else (1e-2, (0.8, 0.9)))
            assert group["weight_decay"] in (0.0, adam.weight_decay)
            assert optimizer.state[parameter]["step"] == (2**30 if generator else 0)
            seen.add(named[parameter])
    assert seen == set(named.values())
    assert system.encoder.tokens.weight in {p for group in optimizer.param_groups[:2] for p in group["params"]}


def test_each_part_is_clipped_by_itself() -> None:
    system = System.Config(ENCODER, Joint.Config(width=0.5, tying="none"), Rtd.Config()).build(VOCAB)
    norms = {}
    for name, parameter in system.named_parameters():
        parameter.grad = torch.full_like(parameter, 3.0 if name.startswith("corruptor.") else 0.5)
    parts = {True: [], False: []}
    for name, parameter in system.named_parameters():
        parts[name.startswith("corruptor.")].append(parameter)
    for part, members in parts.items():
        norms[part] = math.sqrt(sum(p.grad.square().sum().item() for p in members if p.grad is not None))
    norm = Decoupled(Adam(clip=0.0), Adam(clip=2.0)).clip_gradients(system)
    assert norm.item() == pytest.approx(math.hypot(*norms.values()), rel=1e-4)
    assert all(p.grad is not None and (p.grad == 0.5).all() for p in parts[False])
    after = math.sqrt(sum(p.grad.square().sum().item() for p in parts[True] if p.grad is not None))
    assert after == pytest.approx(2.0, rel=1e-3) and norms[True] > 10
