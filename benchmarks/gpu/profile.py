"""Where the time of a step goes, kernel by kernel."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ours import Training
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from gpu.setting import Setting

TOP = 25
STEPS = 3
KINDS = {
    "flash": r"flash",
    "memory-efficient": r"fmha|mem_eff|efficient_attention",
    "cuDNN": r"sdpa",
    "plain: products and a softmax": r"softmax",
}


class Kernel(NamedTuple):
    """A kernel (on a CPU an operator): microseconds and calls of a step."""

    name: str
    micros: float
    calls: float


def step(where: Setting, ours: Training, path: Path, speed: dict[str, float]) -> dict[str, Any]:
    """Profile the step; the top kernels as a table in `path`, a summary returned.

    speed: of the same step, not profiled
    """
    rows, _ = kernels(where, ours.step, STEPS)
    micros, calls = sum(row.micros for row in rows), sum(row.calls for row in rows)
    wall = speed["seconds"] * 1e6
    what = "kernels" if where.device.type == "cuda" else "operators"
    lines = [
        f"electra_small, {ours.rows} rows of {ours.run.length}, bfloat16, compiled: one step",
        f"{wall:,.0f} us a step, {micros:,.0f} us of it in {what} ({micros / wall:.0%}), {calls:,.0f} {what}; the host "
        f"sends it off in {speed['host_seconds'] * 1e6:,.0f} us",
        "",
        f"{'us':>10}{'share':>8}{'calls':>8}  {what.removesuffix('s')}",
    ]
    lines += [
        f"{row.micros:>10,.1f}{row.micros / micros:>8.1%}{row.calls:>8.1f}  {row.name[:140]}" for row in rows[:TOP]
    ]
    rest = rows[TOP:]
    left, more = sum(row.micros for row in rest), sum(row.calls for row in rest)
    lines.append(f"{left:>10,.1f}{left / micros:>8.1%}{more:>8.1f}  {len(rest)} others")
    path.write_text("\n".join(lines) + "\n")
    return {
        "wall_us": wall,
        "kernel_us": micros,
        "kernel_calls": calls,
        "busy": micros / wall,
        "top": [row._asdict() | {"name": row.name[:200]} for row in rows[:TOP]],
        "kernels": [row.name[:200] for row in rows],
        "fused_adam_kernel": any("fusedadam" in row.name.lower().replace("_", "") for row in rows),
    }


def kernels(where: Setting, call: Callable[[int], Any], steps: int) -> tuple[list[Kernel], Any]:
    """All kernels of some calls, the longest first; and the profile itself."""
    cuda = where.device.type == "cuda"
    call(0)
    where.synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as seen:
        for number in range(steps):
            call(number)
        where.synchronize()
    rows = []
    for row in seen.key_averages():
        if row.is_user_annotation or (row.device_type == DeviceType.CUDA) != cuda:
            continue
        micros = row.self_device_time_total if cuda else row.self_cpu_time_total
        if micros:
            rows.append(Kernel(row.key, micros / steps, row.count / steps))
    return sorted(rows, key=lambda row: -row.micros), seen


def attention(names: list[str]) -> dict[str, Any]:
    """Which kinds of attention kernels are among these, and their names."""
    found = {}
    for kind, pattern in KINDS.items():
        # The loss over the vocabulary has a softmax too, by the name of its logarithm.
        hits = [name for name in names if re.search(pattern, name, re.I) and "log_softmax" not in name]
        if hits:
            found[kind] = hits[:4]
    return {"kinds": list(found), "names": found}
