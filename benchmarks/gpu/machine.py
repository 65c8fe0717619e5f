"""The machine: its rates are what all shares are of."""

import statistics
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from electrain.encoders.bert import Bert
from electrain.recipes.sizes import BASE, LARGE, SMALL
from electrain.start import machine, versions
from gpu.report import Report
from gpu.setting import Setting


def measure(where: Setting, report: Report) -> None:
    """Names, versions, matrix rates, bandwidth."""
    report.add(machine=machine(), versions=known_versions(), device=properties(where))
    sides = (64, 128) if where.dry else (4096, 8192, 16384)
    squares = {f"{side}": product(where, side, side, side) for side in sides}
    report.add(squares_tflops=squares, matrix_tflops=max(squares.values()))
    report.add(fp32_tflops=product(where, sides[0], sides[0], sides[0], torch.float32))
    report.add(bandwidth_gb_s=bandwidth(where))
    report.add(products_tflops=shapes(where))


def seconds(where: Setting, call: Callable[[], Any], least: float = 0.1) -> float:
    """Median time of a call, by the device's own clock; calls are timed together where one is short."""
    for _ in range(3):
        call()
    where.synchronize()
    began = time.perf_counter()
    call()
    where.synchronize()
    guess = max(1e-6, time.perf_counter() - began)
    together = max(1, min(20, int(1e-3 / guess)))
    count = max(3, min(100, int(least / guess / together)))
    cuda = where.device.type == "cuda"
    marks: list[Any] = []
    for _ in range(count + 1):
        if cuda:
            marks.append(torch.cuda.Event(enable_timing=True))
            marks[-1].record()
        else:
            marks.append(time.perf_counter())
        for _ in range(together):
            call()
    where.synchronize()
    # Events answer in milliseconds.
    times = [one.elapsed_time(two) / 1000 if cuda else two - one for one, two in pairwise(marks)]
    return statistics.median(times) / together


def product(where: Setting, m: int, k: int, n: int, dtype: torch.dtype = torch.bfloat16) -> float:
    """TFLOP/s of (m, k) by (k, n), random numbers: zeros would be multiplied faster."""
    a = torch.randn(m, k, device=where.device).to(dtype)
    b = torch.randn(k, n, device=where.device).to(dtype)
    out = torch.empty(m, n, device=where.device, dtype=dtype)
    return 2 * m * k * n / seconds(where, lambda: torch.mm(a, b, out=out)) / 1e12


def bandwidth(where: Setting) -> float:
    """GB/s of a copy on the device, what is read and what is written counted; too large for any cache."""
    size = (4 << 20) if where.dry else (2 << 30)
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=where.device)
    target = torch.empty_like(source)
    return 2 * size / seconds(where, lambda: target.copy_(source)) / 1e9


def shapes(where: Setting) -> dict[str, float]:
    """TFLOP/s of the products of a forward pass, at the sizes of the recipes and batches of the table."""
    found = {}
    sizes = {"small": (SMALL, 128), "base": (BASE, 32), "large": (LARGE, 16)}
    for name, (size, rows) in sizes.items():
        tokens = (1 if where.dry else rows) * size.length
        places = round(tokens * size.rate)
        widths: dict[str, Bert.Config] = {"encoder": size.encoder, "generator": size.encoder.scaled(size.width, 1.0)}
        for part, config in widths.items():
            h, f = config.hidden, config.ffn
            for what, (k, n) in {"qkv": (h, 3 * h), "out": (h, h), "up": (h, f), "down": (f, h)}.items():
                found[f"{name} {part} {what}, {tokens}x{k}x{n}"] = product(where, tokens, k, n)
        k, n = size.encoder.embedding, where.vocab.size
        found[f"{name} vocabulary, {places}x{k}x{n}"] = product(where, places, k, n)
        if where.dry:
            break
    return found


def known_versions() -> dict[str, str]:
    """Of all that decides speed."""
    found = {**versions(), "cuda": str(torch.version.cuda)}
    try:
        import triton  # pyright: ignore[reportMissingImports]

        found["triton"] = triton.__version__
    except ImportError:
        found["triton"] = "not installed"
    asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=30)
        found["driver, clock, power"] = answer.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        found["driver, clock, power"] = "nvidia-smi does not answer"
    return found


def properties(where: Setting) -> dict[str, Any]:
    """What torch says of the device."""
    if where.device.type != "cuda":
        return {"name": "the CPU", "skipped": "properties of a GPU: CUDA's own"}
    of = torch.cuda.get_device_properties(where.device)
    return {
        "name": of.name,
        "memory_mib": of.total_memory / 2**20,
        "multiprocessors": of.multi_processor_count,
        "capability": f"{of.major}.{of.minor}",
    }
