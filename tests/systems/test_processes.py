"""One process with the whole batch, two with half of it each: the same gradients, tying alive under DDP."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.forked import together
from tests.systems.kit import Case, all_cases, batch, build, every_case

pytestmark = pytest.mark.usefixtures("unchecked")


def gradients(case: Case, rank: int = 0, ranks: int = 1) -> dict[str, Tensor]:
    """Gradients of every trained parameter after the case's steps, under DDP where there are several processes."""
    from torch.nn.parallel import DistributedDataParallel

    system = build(case)
    rows = 8 // ranks
    call = system if ranks == 1 else DistributedDataParallel(system, find_unused_parameters=True)
    for step in case.steps:
        system.before(step, 0)
        call(batch(step, rows, rank * rows, case), torch.full((), step / 10)).loss.backward()
    return {name: p.grad.clone() for name, p in system.named_parameters() if p.grad is not None}


def work(rank: int, folder: str) -> None:
    """One of two processes: all cases, so that torch is imported once."""
    for name, case in all_cases().items():
        found = gradients(case, rank, 2)
        torch.save(found, Path(folder) / f"{name}-{rank}.pt")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gradients that two processes found, a file a case and process."""
    folder = tmp_path_factory.mktemp("processes")
    together(work, str(folder), ranks=2, folder=folder)
    return folder


@pytest.mark.xdist_group("processes")
@every_case()
def test_two_processes_agree_with_one(case: Case, parts: Path, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    one, other = (torch.load(parts / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    whole = gradients(case)
    assert one.keys() == other.keys() == whole.keys() and len(whole) > 10
    for key, value in whole.items():
        assert torch.equal(one[key], other[key]), key
        torch.testing.assert_close(one[key], value, rtol=1e-4, atol=1e-5 * value.abs().max().item() + 1e-9, msg=key)
