"""What FSDP2 keeps on a device, against torch's own `fully_shard` over processes that are only pretended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from electrain.plan.device import held
from electrain.plan.needs import needs
from electrain.recipes.tiny import electra_tiny

ROOT = Path(__file__).resolve().parent.parent.parent
# In a process of its own: a process group is the whole process's.
SCRIPT = """
import json, sys, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore
from electrain.flops import vocab_of
from electrain.memory import blank
from electrain.recipes.tiny import electra_tiny

devices = int(sys.argv[1])
dist.init_process_group("fake", rank=0, world_size=devices, store=FakeStore())
mesh = init_device_mesh("cpu", (devices,))
run = electra_tiny()
system = run.system.build(vocab_of(2003)).train()
layers = [module for name, module in system.named_modules() if name.rpartition(".")[0].endswith("layers")]
for module in [*layers, system]:
    fully_shard(module, mesh=mesh)
optimizer = run.optim.build(system)
system(blank(2, run.length), torch.zeros(())).loss.backward()
bytes_of = lambda tensors: sum(t.to_local().numel() * t.to_local().element_size() for t in tensors)
means = [v for state in optimizer.state.values() for k, v in state.items() if k != "step"]
print(json.dumps([
    len(layers), bytes_of(system.parameters()), bytes_of(p.grad for p in system.parameters()), bytes_of(means)
]))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_shares_are_those_of_fully_shard() -> None:
    """Within 1 percent: torch cuts every parameter at whole rows, and the first device has the larger part."""
    devices = 8
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(devices)], env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    layers, parameters, gradients, means = json.loads(done.stdout.splitlines()[-1])
    found = needs(electra_tiny(), 2003)
    share = held(found, "fsdp", devices, 1)
    assert layers == len(found.layers)
    assert (share.parameters, share.gradients, share.adam) == pytest.approx((parameters, gradients, means), rel=0.01)
