"""How fast could the joint step be on this machine? Its matrix products alone, each timed at its own shape.

A product y = x W is timed three ways, as the step does it: forward, for the gradient of x, and for that of W. Their sum
is the time that no implementation on the same matrix library can beat; the step's own time beside it says what all else
takes. `--profile` says what that is, by the operators and compiled loops of a step.

    python benchmarks/roofline.py --size small --profile --out benchmarks/results/NAME.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from speed import SIZES, joint

from electrain.batch import slots
from electrain.compute import Compute
from electrain.encoders.bert import Bert
from electrain.start import machine, versions


class Product(NamedTuple):
    """`count` products (batch, m, k) x (batch, k, n) of a forward pass."""

    part: str
    count: int
    batch: int
    m: int
    n: int
    k: int


def products(size: str) -> list[Product]:
    """The matrix products of the joint step's forward pass."""
    encoder, width, vocabulary, rows, length = SIZES[size]
    generator = encoder.scaled(width, 1.0)
    places = rows * slots(0.15, length)
    found = []
    for part, of in (("discriminator", encoder), ("generator", generator)):
        found += _layers(part, of, rows, length)
    found.append(Product("replaced-token head", 1, 1, rows * length, encoder.hidden, encoder.hidden))
    found.append(Product("generator: head", 1, 1, places, generator.embedding, generator.hidden))
    found.append(Product("generator: vocabulary", 1, 1, places, vocabulary, generator.embedding))
    return found


def _layers(part: str, of: Bert.Config, rows: int, length: int) -> list[Product]:
    tokens, head = rows * length, of.hidden // of.heads
    found = [
        Product(f"{part}: queries, keys, values", of.layers, 1, tokens, 3 * of.hidden, of.hidden),
        Product(f"{part}: attention's output", of.layers, 1, tokens, of.hidden, of.hidden),
        Product(f"{part}: feed-forward", of.layers, 1, tokens, of.ffn, of.hidden),
        Product(f"{part}: feed-forward, back", of.layers, 1, tokens, of.hidden, of.ffn),
        Product(f"{part}: scores", of.layers, rows * of.heads, length, length, head),
        Product(f"{part}: weighted values", of.layers, rows * of.heads, length, head, length),
    ]
    if of.embedding != of.hidden:
        found.append(Product(f"{part}: projection", 1, 1, tokens, of.hidden, of.embedding))
    return found


def seconds(call: Callable[[], object], least: float = 0.2) -> float:
    """Median time of a call."""
    call()
    times, began = [], time.perf_counter()
    while time.perf_counter() - began < least or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(product: Product, dtype: torch.dtype) -> float:
    """Seconds of one such product with its two backward products."""
    shape = () if product.batch == 1 else (product.batch,)
    x = torch.randn(*shape, product.m, product.k).to(dtype)
    w = torch.randn(*shape, product.n, product.k).to(dtype)
    y = torch.randn(*shape, product.m, product.n).to(dtype)
    ways = (lambda: x @ w.mT, lambda: y @ w, lambda: y.mT @ x)
    return sum(seconds(way) for way in ways)


def profile(step: Callable[[], object], steps: int = 5) -> list[tuple[str, float, int]]:
    """Operators and compiled loops of a step, longest first: name, seconds a step, calls a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            step()
    rows = [(e.key, e.self_cpu_time_total / 1e6 / steps, e.count // steps) for e in recorded.key_averages()]
    return sorted(rows, key=lambda row: -row[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--profile", action="store_true", help="also say what a step's time goes into")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    compute = Compute()
    dtype = compute.precision(compute.start())
    square = torch.randn(2048, 2048).to(dtype)
    peak = 2 * 2048**3 / seconds(lambda: square @ square, 1.0)
    report, total, work = {}, 0.0, 0.0
    print(f"{dtype}".removeprefix("torch.") + f": {peak / 1e9:.0f} GFLOP/s for 2048 x 2048 x 2048\n")
    for product in products(args.size):
        spent = product.count * measure(product, dtype)
        flops = 6 * product.count * product.batch * product.m * product.n * product.k
        total, work = total + spent, work + flops
        report[product.part] = {**product._asdict(), "seconds": spent, "gflops": flops / spent / 1e9}
        print(f"{product.part:<42}{spent * 1e3:>8.1f} ms{flops / spent / 1e9:>8.0f} GFLOP/s")
    ours, numbers = joint(args.size, dtype, True), count()
    own = seconds(lambda: ours.step(next(numbers)), 10.0)
    print(
        f"\n{'all products':<42}{total * 1e3:>8.1f} ms{work / total / 1e9:>8.0f} GFLOP/s"
        f"\n{'the step':<42}{own * 1e3:>8.1f} ms{work / own / 1e9:>8.0f} GFLOP/s"
        f"\nthe step: {work / own / peak:.0%} of the square product's rate, {total / own:.0%} of its own products' rate"
    )
    found = profile(lambda: ours.step(next(numbers))) if args.profile else []
    for name, spent, calls in found[:25]:
        print(f"{name[:70]:<72}{spent * 1e3:>8.1f} ms {spent / own:>6.1%} {calls:>5} x")
    if args.out:
        summary = {
            "what": "the joint step against its matrix products", "size": args.size, "dtype": str(dtype),
            "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(), "peak_gflops": peak / 1e9,
            "products": report, "products_seconds": total, "step_seconds": own, "share_of_peak": work / own / peak,
            "share_of_products": total / own,
            "profile": [{"name": name, "seconds": spent, "calls": calls} for name, spent, calls in found[:40]],
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
