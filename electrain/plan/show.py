"""A plan for people: tables of memory and time, DDP and FSDP2 side by side, and what was assumed."""

import torch
from rich.console import Group
from rich.table import Table

from electrain.plan.device import USABLE, held, most
from electrain.plan.forecast import Forecast, forecast
from electrain.plan.gpus import GB, Gpu, gpu
from electrain.plan.links import REACHED, Links
from electrain.plan.needs import Needs, needs
from electrain.plan.settings import Plan
from electrain.plan.speed import LAUNCH, MOVES, PRODUCTS, STREAM
from electrain.run import Run

NAMES = {"ddp": "DDP", "fsdp": "FSDP2"}
NOT_MEASURED = "Computed, not measured: no GPU has been measured yet."


def describe(run: Run, chosen: Plan) -> Group:
    """Tables of a run and of the stage before it. UserError where there are more GPUs than rows."""
    chosen.check()
    device = gpu(chosen.gpu)
    links = Links(device, chosen.gpus, chosen.network and chosen.network * GB)
    stages = [run]
    while stages[0].first is not None:
        stages.insert(0, stages[0].first)
    parts = [part for stage in stages for part in _stage(stage, chosen, links)]
    return Group(*parts, "\n" + NOT_MEASURED, *_assumptions(chosen, links))


def _stage(run: Run, chosen: Plan, links: Links) -> list[str | Table]:
    wanted = torch.float32 if run.compute.dtype == "float32" or not links.gpu.bfloat16 else torch.bfloat16
    needed = needs(run, chosen.vocab_size, wanted)
    kinds = [kind for kind in NAMES if chosen.parallel in ("both", kind)]
    plans = {
        kind: forecast(needed, kind, links, parts=run.accumulate, mfu=chosen.mfu)  # type: ignore[arg-type]
        for kind in kinds
    }
    machines = f"{links.machines} machine{'s' if links.machines > 1 else ''}"
    tokens = run.tokens(run.steps)
    return [
        f"{run.recipe or 'run'} on {links.devices:,} {links.gpu.name.upper()} in {machines}: {run.extent}, "
        f"{tokens / 1e9:,.3g} billion tokens",
        f"\nMemory of a device, GiB (of {links.gpu.memory / 2**30:,.1f}, of which {USABLE:.0%} can be used)",
        _memory(needed, plans, links),
        "\nTime of a step, and the run",
        _time(needed, plans, chosen.price),
        *([_GROWN] if run.growth.grows else []),
    ]


def _memory(needed: Needs, plans: dict[str, Forecast | None], links: Links) -> Table:
    table = _table("what", "format", *(NAMES[kind] for kind in plans))
    # What does not fit is shown with one row.
    lies = {kind: plan.held if plan else held(needed, kind, links.devices, 1, 2) for kind, plan in plans.items()}  # type: ignore[arg-type]

    def line(name: str, dtype: str, sizes: list[float]) -> None:
        table.add_row(name, dtype, *(f"{size / 2**30:,.3f}" for size in sizes))

    line("parameters", "float32", [one.parameters for one in lies.values()])
    line("gradients", "float32", [one.gradients for one in lies.values()])
    line("optimizer: Adam's two means", "float32", [one.adam for one in lies.values()])
    line("weights in the format of the products", needed.dtype, [one.passing for one in lies.values()])
    for name in needed.alive:
        what, _, dtype = name.partition(", ")
        line(what, dtype, [one.alive[name] for one in lies.values()])
    table.add_section()
    line("all", "", [one.total for one in lies.values()])
    table.add_row("rows of the micro-batch", "", *(f"{one.rows:,}" for one in lies.values()))
    table.add_row("rows of the largest that fits", "", *(_largest(needed, kind, plans, links) for kind in plans))
    return table


def _largest(needed: Needs, kind: str, plans: dict[str, Forecast | None], links: Links) -> str:
    plan = plans[kind]
    return f"{plan.most if plan else most(needed, kind, links.devices, links.gpu, 2):,}"  # type: ignore[arg-type]


def _time(needed: Needs, plans: dict[str, Forecast | None], price: float | None) -> Table:
    table = _table("what", *(NAMES[kind] for kind in plans))

    def line(name: str, show: str, of: str, times: float = 1) -> None:
        table.add_row(name, *(format(getattr(plan, of) * times, show) if plan else "-" for plan in plans.values()))

    whole = needed.operations * needed.batch
    table.add_row("operations of a step", *(f"{whole:.3e}" for _ in plans))
    line("rows of a device", ",", "rows")
    line("in micro-batches (--accumulate)", ",", "parts")
    line("computing, ms", ",.2f", "computing", 1e3)
    line("communicating, ms", ",.2f", "communicating", 1e3)
    line("  of it not hidden behind computing, ms", ",.2f", "waiting", 1e3)
    line("clipping and optimizer, ms", ",.2f", "updating", 1e3)
    line("a step, ms", ",.2f", "step", 1e3)
    table.add_section()
    line("share of the peak matrix rate", ".1%", "share")
    line("tokens a second", ",.0f", "tokens")
    line("days", ",.2f", "days")
    line("GPU-hours", ",.1f", "hours")
    if price is not None:
        line(f"cost at {price:g} an hour", ",.0f", "hours", price)
    if None in plans.values():
        table.add_row("-: not one row fits", *("" for _ in plans))
    return table


_GROWN = (
    "Memory and step: of a whole batch (--growth has grown); days, hours: of the tokens that are read, at its speed."
)
_GATHERED = "FSDP2 gathers weights in the format of the products (--parallel.gather bfloat16; float32 is twice that)."


def _assumptions(chosen: Plan, links: Links) -> list[str]:
    device: Gpu = links.gpu
    sheet = f"{device.name.upper()}: {(device.bfloat16 or device.float32) / 1e12:,.0f} TFLOP/s, "
    if chosen.mfu is not None:
        share = f"Computing at {chosen.mfu:.0%} of the peak (--mfu)."
    else:
        share = (
            f"Computing: products at {PRODUCTS:.0%} of the peak, {MOVES} passes at {STREAM:.0%} of memory's bandwidth "
            f"over what the forward pass saves, {1e6 * LAUNCH:.0f} µs a kernel (--mfu replaces this)."
        )
    return [
        f"Data sheet, {sheet}{device.bandwidth / 1e12:,.2f} TB/s, links of {device.link / GB:,.0f} GB/s one way.",
        share,
        f"Links at {REACHED:.0%} of theirs: {links.bandwidth / GB:,.0f} GB/s from device to device.",
        *([] if chosen.parallel == "ddp" else [_GATHERED]),
        "Activations are those of a step that is not compiled; a compiled one keeps less.",
    ]


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        left = number == 0 or column == "format"
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table
