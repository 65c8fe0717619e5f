"""One process with the whole batch, two with half of it each: the same gradients, tying alive under DDP."""

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.systems.kit import Case, all_cases, batch, build, every_case


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


def work(rank: int, port: int, folder: str) -> None:
    """One of two processes: all cases, so that torch is imported once."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    for name, case in all_cases().items():
        found = gradients(case, rank, 2)
        torch.save(found, Path(folder) / f"{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gradients that two processes found, a file a case and process."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    spawn(work, (port, str(folder)), nprocs=2)
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
