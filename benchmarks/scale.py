"""The tables and the plot of docs/scale.md: `python benchmarks/scale.py`.

All of it follows from `electrain.plan`, from what steps need (results/scale-needs.json) and from measured results of a
CPU. --needs finds the first anew, which takes a minute; --cpu measures this machine's memory; --corpus DIR the size of
prepared data. --check writes nothing, and fails where the tables are not what they should be.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scale_measure import NEEDS, find_needs, measure_corpus, measure_cpu

from electrain.plan.device import Kind, held, most
from electrain.plan.forecast import Forecast, forecast
from electrain.plan.gpus import GPUS
from electrain.plan.links import Links
from electrain.plan.needs import Needs
from electrain.plan.speed import MOVES, STREAM, computing, peak

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "scale.md"
SIZES = ("electra_small", "electra_base", "electra_large")
KINDS: dict[Kind, str] = {"ddp": "DDP", "fsdp": "FSDP2"}
GPU = "h200"
GROWING = {"electra_small": 128, "electra_base": 32, "electra_large": 32}  # rows of a device where the batch grows
# Tokens a second on one GPU, by others' programs: who, what of ours is like it, GPU, rows, figure.
PUBLISHED = (
    ("ELECTRA-Small, 4 days (ELECTRA, table 1)", "electra_small float32", "v100", 128, 1e6 * 128 * 128 / (4 * 86400)),
    ("ELECTRA-Small, 2.4 steps a second (Kang et al., table 1)", "electra_small float32", "v100", 128, 2.4 * 128 * 128),
    ("ELECTRA-Base at 128, NVIDIA's TensorFlow 2 code", "electra_base 128", "a100-40gb", 176, 122e3),
    ("ELECTRA-Base at 512, NVIDIA's TensorFlow 2 code", "electra_base", "a100-40gb", 24, 88e3),
)
COMPUTED, MEASURED = "computed", "measured"


def load(results: Path) -> dict[str, Needs]:
    """What the steps need, as it was found."""
    found = json.loads((results / NEEDS).read_text())["needs"]
    return {name: Needs(**{**tree, "layers": tuple(tree["layers"])}) for name, tree in found.items()}


def newest(results: Path, what: str, **fields: str) -> dict[str, Any]:
    """The newest result whose "what" begins so."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    found = [one for one in found if one.get("what", "").startswith(what)]
    found = [one for one in found if all(one[name] == value for name, value in fields.items())]
    return max(found, key=lambda one: one["date"])


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---", *("---:" for _ in head[1:])], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def memory(results: Path) -> str:
    head = ("recipe", "GPUs", "weights, gradients, Adam: DDP", "FSDP2", "a row", "largest micro-batch: DDP", "FSDP2")

    def rows() -> Iterable[Iterable[str]]:
        for name, found in load(results).items():
            for devices in (1, 8, 64, 1024) if name in SIZES else ():
                whole, shared = (held(found, kind, devices, 0).fixed / 2**30 for kind in KINDS)
                fits = [most(found, kind, devices, GPUS[GPU]) for kind in KINDS]
                yield (
                    f"`{name}`", f"{devices:,}", f"{whole:.2f} GiB", f"{shared:.2f} GiB",
                    f"{found.row / 2**20:,.0f} MiB", *(f"{fit:,} rows" for fit in fits),
                )  # fmt: skip

    return table(head, rows())


def plans(found: Needs, devices: int, batch: int) -> dict[Kind, Forecast | None]:
    return {kind: forecast(found, kind, Links(GPUS[GPU], devices), batch=batch) for kind in KINDS}


def published_batch(results: Path) -> str:
    head = (
        "recipe", "GPUs", "rows of each", "computing", "waiting: DDP", "FSDP2", "tokens/s: DDP", "FSDP2",
        "share of peak", "days", "GPU-hours",
    )  # fmt: skip

    def rows() -> Iterable[Iterable[str]]:
        for name in SIZES:
            found = load(results)[name]
            for devices in (1, 8, 16, 64, 128, 256, 1024):
                if devices > found.batch:
                    continue
                both = [plan for plan in plans(found, devices, found.batch).values() if plan is not None]
                best = max(both, key=lambda plan: plan.tokens)
                yield (
                    f"`{name}`", f"{devices:,}", f"{best.rows:,}", f"{1e3 * best.computing:,.1f} ms",
                    *(f"{1e3 * plan.waiting:,.1f} ms" for plan in both), *(f"{plan.tokens:,.0f}" for plan in both),
                    f"{best.share:.1%}", f"{best.days:,.2f}", f"{best.hours:,.0f}",
                )  # fmt: skip

    return table(head, rows())


def growing_batch(results: Path) -> str:
    head = ("recipe", "GPUs", "batch", "tokens/s: DDP", "FSDP2", "of so many times one GPU: DDP", "FSDP2")

    def rows() -> Iterable[Iterable[str]]:
        for name in SIZES:
            found, each = load(results)[name], GROWING[name]
            for devices in (1, 8, 64, 1024):
                both = [plan for plan in plans(found, devices, each * devices).values() if plan is not None]
                yield (
                    f"`{name}`", f"{devices:,}", f"{each * devices:,}", *(f"{plan.tokens:,.0f}" for plan in both),
                    *(f"{efficiency(found, plan, each):.0%}" for plan in both),
                )  # fmt: skip

    return table(head, rows())


def efficiency(found: Needs, plan: Forecast, each: int) -> float:
    """Of as many times the tokens a second of one device with so many rows."""
    one = plans(found, 1, each)["ddp"]
    assert one is not None
    return plan.tokens / plan.devices / one.tokens


def others(results: Path) -> str:
    head = ("published run", "GPU", "published, tokens/s", "computed for ours", "ratio", "share of peak that it takes")

    def rows() -> Iterable[Iterable[str]]:
        for what, name, gpu, batch, rate in PUBLISHED:
            found = load(results)[name]
            ours = batch * found.length / computing(found, batch, GPUS[gpu])
            share = rate * found.operations / found.length / peak(found, GPUS[gpu])
            yield what, gpu.upper(), f"{rate:,.0f}", f"{ours:,.0f}", f"{ours / rate:.2f}", f"{share:.0%}"

    return table(head, rows())


def cpu(results: Path) -> str:
    """The same sum with a CPU's own figures: its products as they were timed, its memory as it was."""
    step, bare = newest(results, "the joint step against", size="small"), newest(results, "bytes a second of copying")
    rows = next(product["m"] for product in step["products"].values()) // 128
    found = load(results)["electra_small float32"]
    moved = MOVES * found.saved * rows / (STREAM * bare["bytes_per_second"])
    whole, size = step["products_seconds"] + moved, found.saved * rows / 1e9
    reached = step["share_of_peak"] / step["share_of_products"]
    return table(
        (f"`electra_small`, {rows} rows, float32, on {step['machine']}", "", "which is"),
        (
            ("products, each at its own shape", f"{step['products_seconds']:.2f} s", MEASURED),
            ("  share of the rate of a large square product", f"{reached:.0%}", MEASURED),
            ("the memory's bandwidth, copying", f"{bare['bytes_per_second'] / 1e9:.1f} GB/s", MEASURED),
            (f"between the products: {MOVES} passes over {size:.2f} GB", f"{moved:.2f} s", COMPUTED),
            ("a step, the sum", f"{whole:.2f} s", COMPUTED),
            ("a step", f"{step['step_seconds']:.2f} s", MEASURED),
            ("share of the square product's rate, the whole step", f"{step['share_of_peak']:.0%}", MEASURED),
        ),
    )


def trillion(results: Path) -> str:
    corpus = newest(results, "bytes of prepared data")
    loads, made = newest(results, "tokens a second of the loader"), newest(results, "seconds of electrain prepare")
    tokens, each = 1e12, corpus["bytes"] / corpus["tokens"]
    text = corpus["text_bytes"] / corpus["tokens"]
    work = made["variants"]["electrain prepare"]["processor_seconds"]
    work -= made["variants"]["electrain prepare, 10 KB of text"]["processor_seconds"]
    hours = tokens * text / (made["bytes"] / work) / 3600
    slow, fast = (pick(one["rate_of_processor"] for one in loads["variants"].values()) for pick in (min, max))
    lines = [
        ("bytes of prepared data a token", f"{each:.3f}", MEASURED),
        ("bytes of text a token", f"{text:.2f}", MEASURED),
        ("prepared data of a trillion tokens", f"{tokens * each / 1e12:.2f} TB", COMPUTED),
        ("its text", f"{tokens * text / 1e12:.1f} TB", COMPUTED),
        ("`prepare` on one core, without its start", f"{made['bytes'] / work / 1e6:.2f} MB/s of text", MEASURED),
        ("`prepare` of a trillion tokens", f"{hours:,.0f} core-hours", COMPUTED),
        ("loader, a thread's processor time, slowest case", f"{slow / 1e6:.1f} million tokens/s", MEASURED),
        ("  fastest case", f"{fast / 1e6:.1f} million tokens/s", MEASURED),
    ]
    for name in SIZES:
        found = load(results)[name]
        plan = plans(found, 8, GROWING[name] * 8)["ddp"]
        assert plan is not None
        eats = plan.tokens / 8
        lines += [
            (f"`{name}` on one {GPU.upper()} of 8 takes", f"{eats / 1e6:.2f} million tokens/s", COMPUTED),
            ("  from disk", f"{eats * each / 1e6:.1f} MB/s", COMPUTED),
            ("  a trillion tokens", f"{tokens / eats / 3600:,.0f} GPU-hours", COMPUTED),
        ]
    return table(("what", "", "which is"), lines)


TABLES: dict[str, Callable[[Path], str]] = {
    "memory": memory,
    "published batch": published_batch,
    "growing batch": growing_batch,
    "others": others,
    "cpu": cpu,
    "trillion": trillion,
}


def renewed(text: str, results: Path) -> str:
    """The page with every table as it follows from the results."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: by benchmarks/scale.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"scale.md: the lines {begin} and {end} are missing; put them where the table belongs")
        text = f"{before}{begin}\n{make(results)}\n{end}{after}"
    return text


def plot(results: Path, path: Path) -> None:
    """Tokens a second at the published batch, and what is left of one GPU's rate where the batch grows."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "scale", "svg.fonttype": "none", "font.size": 10}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), constrained_layout=True)
    colours = dict(zip(SIZES, ("#0072b2", "#d55e00", "#009e73"), strict=True))
    counts = [2**power for power in range(11)]
    for name in SIZES:
        found = load(results)[name]
        for kind, label in KINDS.items():
            style = {"color": colours[name], "linestyle": "-" if kind == "ddp" else "--", "label": f"{name}, {label}"}
            fixed = [(n, plans(found, n, found.batch)[kind]) for n in counts if n <= found.batch]
            left.plot([n for n, _ in fixed], [plan.tokens if plan else float("nan") for _, plan in fixed], **style)
            grown = [plans(found, n, GROWING[name] * n)[kind] for n in counts]
            shares = [100 * efficiency(found, plan, GROWING[name]) if plan else float("nan") for plan in grown]
            right.plot(counts, shares, **style)
        one = plans(found, 1, found.batch)["ddp"]
        assert one is not None
        ideal = [n for n in counts if n <= found.batch]
        left.plot(ideal, [n * one.tokens for n in ideal], color=colours[name], linewidth=0.7, alpha=0.5)
    left.set(
        xscale="log", yscale="log", ylabel="tokens a second", title="At the paper's batch (thin: as many times one)"
    )
    right.set(
        xscale="log", ylabel="% of as many times one GPU", title="Rows of a GPU fixed: 128, 32, 32", ylim=(0, 105)
    )
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks([1, 8, 64, 512, 1024], ["1", "8", "64", "512", "1,024"])
        axis.set_xlabel(f"{GPU.upper()} GPUs, 8 in a machine")
        axis.grid(alpha=0.3)
    right.legend(fontsize=8, loc="lower left")
    figure.suptitle("Computed, not measured", fontsize=10)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page would change")
    parser.add_argument("--needs", action="store_true", help="find what the steps need anew")
    parser.add_argument("--cpu", action="store_true", help="measure this machine's memory anew")
    parser.add_argument("--corpus", type=Path, help="a folder that electrain prepare made, to measure")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.needs:
        find_needs(args.results)
    if args.cpu:
        measure_cpu(args.results)
    if args.corpus:
        measure_corpus(args.results, args.corpus)
    text = args.page.read_text(encoding="utf-8")
    new = renewed(text, args.results)
    if args.check:
        if new != text:
            sys.exit(f"{args.page.name}: its tables are not what the results say; run python benchmarks/scale.py")
        return
    args.page.write_text(new, encoding="utf-8")
    plot(args.results, args.page.with_suffix(".svg"))


if __name__ == "__main__":
    main()
