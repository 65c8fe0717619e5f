"""Schedules against their formulas in NumPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from electrain.corruptors.frozen import FALLING
from electrain.curriculum import ONE, ZERO, Schedule
from electrain.errors import UserError

U = np.linspace(0.0, 1.0, 41)


def reached(span: float) -> np.ndarray:
    return np.minimum(U / span, 1.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (FALLING, lambda: 1 + np.exp(-U / 0.1)),
        (Schedule("exponential", 3.0, 0.5, decay=0.25), lambda: 0.5 + 2.5 * np.exp(-U / 0.25)),
        (Schedule("linear", 2.0, 1.0), lambda: 2 - U),
        (Schedule("linear", 2.0, 1.0, span=0.4), lambda: 2 - reached(0.4)),
        (Schedule("polynomial", 2.0, 1.0, power=3.0, span=0.7), lambda: 1 + (1 - reached(0.7)) ** 3),
        (Schedule("cosine", 2.0, 1.0, span=0.5), lambda: 1 + (1 + np.cos(math.pi * reached(0.5))) / 2),
        (Schedule("step", 2.0, 1.0, span=0.33), lambda: np.where(U < 0.33, 2.0, 1.0)),
        (Schedule("constant", 1.5, 7.0), lambda: np.full_like(U, 1.5)),
        (Schedule("linear", 0.0, 1.0), lambda: U),
        (ONE, lambda: np.ones_like(U)),
        (ZERO, lambda: np.zeros_like(U)),
    ],
)
def test_values_are_those_of_the_formula(schedule: Schedule, expected: Callable[[], np.ndarray]) -> None:
    exact = np.array([schedule(torch.tensor(u, dtype=torch.float64)).item() for u in U])
    np.testing.assert_allclose(exact, expected(), rtol=0, atol=1e-7 if schedule.kind == "step" else 1e-12)
    single = np.array([schedule(torch.tensor(u, dtype=torch.float32)).item() for u in U])
    np.testing.assert_allclose(single, expected(), rtol=1e-6, atol=1e-6)


def test_the_ends_bound_it() -> None:
    for kind in ("exponential", "linear", "polynomial", "cosine", "step", "constant"):
        schedule = Schedule(kind, 2.0, 1.0, span=0.6)
        values = [schedule(torch.tensor(u)).item() for u in U]
        assert values == sorted(values, reverse=True) and values[0] == 2.0
        assert min(schedule.values) <= min(values) and max(values) <= max(schedule.values)
    assert 1.0 < FALLING(torch.tensor(1.0)).item() < 1.0001, "the exponential does not quite reach its end"


def test_one_graph_for_all_progress() -> None:
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, _: object) -> Callable:
        graphs.append(graph)
        return graph.forward

    call = torch.compile(FALLING.__call__, fullgraph=True, dynamic=False, backend=count)
    for u in U[:5]:
        assert call(torch.tensor(u)).item() == pytest.approx(1 + math.exp(-u / 0.1))
    assert len(graphs) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"start": math.nan},
        {"end": math.inf},
        {"decay": 0.0},
        {"span": 0.0},
        {"span": 1.5},
        {"power": -1.0},
    ],
)
def test_bad_numbers_are_refused(fields: dict) -> None:
    with pytest.raises(UserError, match=r"^schedule: "):
        Schedule(**fields)
