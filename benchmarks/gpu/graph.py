"""Checks of the compiled ELECTRA-Small step: one graph, compiled once; no wait for the device; which kernels ran.

The learning rate is 0, so that the same weights make the losses of every variant.
"""

import time
import traceback
import warnings
from typing import Any

import torch
from ours import Training

from electrain.compute import Step, casting
from electrain.errors import reason
from gpu import profile
from gpu.report import Report
from gpu.setting import Setting

STEPS = 20
LOSSES = 3  # steps whose losses are compared


def measure(where: Setting, report: Report) -> None:
    """All checks; the profile is written beside them."""
    dtype = torch.bfloat16
    ours = Training(where.run, where.run.batch, where.device, where.vocab, dtype, compile=True)
    report.add(rows=ours.rows, length=where.run.length, dtype="bfloat16")
    for group in ours.optimizer.param_groups:
        group["lr"] = 0.0
    report.add(compiled=compiled(ours), optimizer=optimizer(ours))
    losses = first_losses(ours)
    report.add(sync=sync(where, ours))
    report.add(speed={"compiled": speed(where, ours)})
    found = profile.step(where, ours, report.path.with_name("profile.txt"), report.content["speed"]["compiled"])
    report.add(profile=found, attention=attention(where, ours, found["kernels"]))
    call, ours.call = ours.call, Step(ours.system, dtype, False, ours.said.append)
    report.add(eager_agrees=agree(first_losses(ours), losses))
    report.content["speed"]["eager"] = speed(where, ours)
    ours.call = call
    report.add(cuda_graphs=cuda_graphs(where, ours, losses, dtype))
    verdicts = {
        "one graph, compiled once": report.content["compiled"]["pass"],
        "no wait in the step": report.content["sync"].get("pass"),
        "fused AdamW": report.content["optimizer"]["pass"],
        "compiled agrees with eager": report.content["eager_agrees"]["pass"],
    }
    verdicts = {name: passed for name, passed in verdicts.items() if passed is not None}  # what was skipped is none
    report.add(verdicts=verdicts, **{"pass": all(verdicts.values())})


def compiled(ours: Training) -> dict[str, Any]:
    """Make some steps and see what was compiled for them."""
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    began = time.perf_counter()
    ours.step(0)
    seconds = time.perf_counter() - began
    for number in range(1, STEPS):
        ours.step(number)
    said = ours.said[-1] if ours.said else ""
    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    return {
        "said": said,
        "seconds": seconds,
        "steps": STEPS,
        "graphs": graphs,
        "graph_breaks": breaks,
        "lowered": counters["aot_autograd"]["total"],
        "pass": said.startswith("compiled in ") and (graphs, breaks, counters["aot_autograd"]["total"]) == (1, 0, 1),
    }


def optimizer(ours: Training) -> dict[str, Any]:
    """What updates the weights."""
    groups = ours.optimizer.param_groups
    fused = all(group.get("fused") for group in groups)
    return {"kind": type(ours.optimizer).__name__, "groups": len(groups), "fused": fused, "pass": fused}


def first_losses(ours: Training) -> list[float]:
    """Losses of the first steps."""
    found = []
    for number in range(LOSSES):
        torch.compiler.cudagraph_mark_step_begin()
        output = ours.forward(number)
        found.append(output.loss.item())
        output.loss.backward()
        ours.optimizer.zero_grad(set_to_none=True)
    return found


def agree(losses: list[float], others: list[float]) -> dict[str, Any]:
    """Losses of two variants: bfloat16 rounds them elsewhere, and a few samples with it."""
    error = max(abs(one - other) / abs(other) for one, other in zip(losses, others, strict=True))
    return {"losses": losses, "others": others, "error": error, "bound": 0.01, "pass": error <= 0.01}


def sync(where: Setting, ours: Training) -> dict[str, Any]:
    """A warm step, copies, clipping and optimizer included, with torch's watch on calls that wait for the device."""
    if where.device.type != "cuda":
        return {"skipped": "waits for the device: CUDA's own"}
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            ours.step(1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [f"{one.filename}:{one.lineno}: {str(one.message).splitlines()[0][:200]}" for one in caught]
    waits = [line for line in waits if "prototype feature" not in line]  # what the mode says of itself
    torch.cuda.set_sync_debug_mode("error")
    try:
        ours.step(2)
        stopped = ""
    except RuntimeError as error:
        frames = traceback.extract_tb(error.__traceback__)
        stopped = f"{reason(error)[:200]} at {frames[-1].filename}:{frames[-1].lineno} {frames[-1].line}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
        ours.optimizer.zero_grad(set_to_none=True)
    return {"waits": sorted(set(waits)), "stopped": stopped, "pass": not stopped}


def speed(where: Setting, ours: Training) -> dict[str, float]:
    """Seconds of a step; and until the host has sent it off: where these are as many, the host is the limit."""
    for number in range(3):
        ours.step(number)
    where.synchronize()
    began = time.perf_counter()
    ours.step(0)
    where.synchronize()
    count = 2 if where.dry else max(5, min(100, int(2.0 / (time.perf_counter() - began))))
    began = time.perf_counter()
    for number in range(count):
        ours.step(number)
    sent = time.perf_counter() - began
    where.synchronize()
    whole = time.perf_counter() - began
    # A few steps alone: the queue of the device is then never full, and the host never waits for room in it.
    began = time.perf_counter()
    ours.step(0)
    alone = time.perf_counter() - began
    where.synchronize()
    return {
        "seconds": whole / count,
        "host_seconds": min(sent / count, alone),
        "tokens_per_second": count * ours.tokens / whole,
    }


def attention(where: Setting, ours: Training, kernels: list[str]) -> dict[str, Any]:
    """Which kernels computed attention: in training, and in an evaluation's forward pass."""
    if where.device.type != "cuda":
        return {"skipped": "kernels of attention: CUDA's own"}
    ours.system.eval()
    eager = Step(ours.system, torch.bfloat16, False, ours.said.append)
    here = ours.batches[0].map(lambda tensor: tensor.to(where.device))
    with torch.no_grad():
        rows, _ = profile.kernels(where, lambda _: eager(here, torch.zeros((), device=where.device)), 1)
    ours.system.train()
    return {"training": profile.attention(kernels), "evaluation": profile.attention([row.name for row in rows])}


def cuda_graphs(where: Setting, ours: Training, losses: list[float], dtype: torch.dtype) -> dict[str, Any]:
    """The same step with mode="reduce-overhead": replayed as CUDA graphs, or one line that says why not."""
    if where.device.type != "cuda":
        return {"skipped": "CUDA graphs: CUDA's own"}
    counters = torch._dynamo.utils.counters
    skips = counters["inductor"]["cudagraph_skips"]
    graphed = torch.compile(ours.system, fullgraph=True, dynamic=False, mode="reduce-overhead")
    call = ours.call

    def replay(batch: Any, progress: torch.Tensor) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        with casting(where.device, dtype):
            return graphed(batch, progress)

    ours.call = replay  # type: ignore[assignment]
    try:
        for number in range(4):  # runs as it is, is recorded, is replayed
            ours.step(number)
        agreement = agree(first_losses(ours), losses)
        found = {"agrees": agreement, "speed": speed(where, ours), "pass": agreement["pass"]}
    except Exception as error:  # whatever the compiler raises is the answer
        traceback.print_exc()
        found = {"why not": f"{type(error).__name__}: {reason(error)[:300]}", "pass": False}
    finally:
        ours.call = call
        ours.optimizer.zero_grad(set_to_none=True)
    found["skipped_by_the_compiler"] = counters["inductor"]["cudagraph_skips"] - skips
    return found
