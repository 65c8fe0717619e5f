"""What holds for every system, whatever it does."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from electrain.compute import Step
from electrain.flops import count
from electrain.metrics import read
from electrain.system import System
from tests.systems.kit import Case, World, batch, build, every_case, run_of
from tests.training import (
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)


def progress(step: int) -> Tensor:
    return torch.full((), step / 10)


@every_case()
def test_metrics_are_finite_and_their_shapes_static(case: Case) -> None:
    system = build(case)
    shapes = []
    for step in case.steps:
        system.before(step, 0)
        output = system(batch(step, case=case), progress(step))
        assert output.loss.shape == () and output.loss.isfinite()
        shapes.append({name: tuple(value.shape) for name, value in output.metrics.items()})
        numbers = {name: value for name, value in read(output.metrics).items() if not math.isnan(value)}
        assert numbers["loss"] == pytest.approx(output.loss.item()) and all(map(math.isfinite, numbers.values()))
        assert not any(value.requires_grad for value in output.metrics.values())
    assert all(shape == shapes[0] for shape in shapes), shapes


@every_case()
def test_special_tokens_are_left_alone_and_replaced_means_changed(case: Case) -> None:
    system = build(case)
    if not isinstance(system, System):
        pytest.skip("not a corruptor and an objective: the system's own tests hold this")
    replaced = 0
    for step in case.steps:
        system.before(step, 0)
        text = batch(step, case=case)
        seen = system.corruptor(text, system.encoder, progress(step))
        assert seen.ids.shape == seen.replaced.shape == text.ids.shape
        assert torch.equal(seen.ids[~text.maskable], text.ids[~text.maskable])
        assert not seen.replaced[~text.maskable].any()
        if case.changed:
            assert torch.equal(seen.replaced, seen.ids != text.ids)
        else:
            assert torch.equal(seen.ids, text.ids)
        selected = torch.zeros_like(text.ids).scatter_add(1, seen.picked.index, seen.picked.valid.long()) > 0
        assert not (seen.replaced & ~selected).any(), "replaced where nothing was selected"
        replaced += int(seen.replaced.sum())
    assert replaced > 0


@every_case()
def test_gradient_reaches_what_learns_and_nothing_else(case: Case) -> None:
    system = build(case)
    for step in case.steps:
        system.before(step, 0)
        system(batch(step, case=case), progress(step)).loss.backward()
    reached = {name for name, p in system.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    wanted = {name for name, _ in system.named_parameters() if not name.startswith(case.still or ("-",))}
    assert reached == wanted, (sorted(reached - wanted), sorted(wanted - reached))


@every_case()
def test_the_optimizer_holds_what_learns_once(case: Case) -> None:
    system = build(case)
    optimizer = run_of(case, 4).optim.build(system)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    learns = {id(parameter) for parameter in system.parameters() if parameter.requires_grad}
    assert len(held) == len(set(held)) and set(held) == learns == {id(parameter) for parameter in optimizer.state}


@every_case(quick=("electra", "frozen", "nearest", "disentangled", "hybrid"))
def test_one_graph_a_variant(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured whole, and once for each value of `variant`, however the curriculum moves."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **how: compile(*args, **how, backend="eager"))
    system = build(case)
    said: list[str] = []
    call = Step(system, torch.float32, compile=True, say=said.append)
    variants = set()
    for step in (*case.steps, *case.steps):
        system.before(step, 0)
        variants.add(system.variant())
        output = call(batch(step, case=case), progress(step))
        output.loss.backward()
        system.zero_grad(set_to_none=True)
        system.after(step, output.metrics)
    assert not any(line.startswith("not compiled") for line in said), said
    assert counters["stats"]["unique_graphs"] == len(variants), (counters["stats"], variants)
    assert not counters["graph_break"], counters["graph_break"]


@every_case()
def test_its_cost_is_counted(case: Case) -> None:
    run = run_of(case, 4)
    cost = count(replace(run, system=run.system.resolve(World())), VOCAB.size)
    assert cost.plain_total.token > 0 and cost.paper_total.token > cost.plain_total.token / 3
    assert cost.parameters.model > 0
