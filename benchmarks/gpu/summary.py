"""All parts in one file and on one page."""

import time
from pathlib import Path
from typing import Any

from gpu.report import read, write

SHOWN = 22  # rows of the table that are printed


def summarize(out: Path, stamp: str, seconds: float, failed: list[str]) -> dict[str, Any]:
    """Write OUT/summary.json from what the parts have left; returns it."""
    machine, parity, graph, table, run = (
        read(out / f"{n}.json") for n in ("machine", "parity", "graph", "table", "run")
    )
    rows = [row for wave in table.get("waves", {}).values() for row in wave["rows"]]
    timed = [row for row in rows if "tokens_per_second" in row]
    checks = [{k: v for k, v in check.items() if k != "errors"} for check in parity.get("checks", [])]
    kept = ("compiled", "optimizer", "sync", "speed", "eager_agrees", "attention", "cuda_graphs", "verdicts", "pass")
    summary = {
        "stamp": stamp,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": seconds,
        "failed": failed + [part["failed"] for part in (machine, parity, graph, table, run) if part.get("failed")],
        "machine": {k: machine.get(k) for k in ("machine", "versions", "device", "matrix_tflops", "bandwidth_gb_s")},
        "parity": {"pass": parity.get("pass"), "checks": checks},
        "graph": {key: graph.get(key) for key in kept},
        "busy": graph.get("profile", {}).get("busy"),
        "rows": rows,
        "ratios": ratios(timed),
        "run": {k: v for k, v in run.items() if k != "curve"},
        "pass": parity.get("pass", True) is not False and graph.get("pass", True) is not False,
    }
    write(out / "summary.json", summary)
    return read(out / "summary.json")


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Ours to transformers' best of the same step with the same rows: tokens a second, peak memory."""
    found = {}
    for one in rows:
        others = [row for row in rows if not row["ours"] and _shape(row) == _shape(one)]
        if one["ours"] and others:
            best = max(others, key=lambda row: row["tokens_per_second"])
            found[f"{one['recipe']} {one['rows']}x{one['length']}"] = {
                "tokens_per_second": one["tokens_per_second"] / best["tokens_per_second"],
                "peak_memory": one["peak_mib"] / best["peak_mib"],
            }
    return found


def table(summary: dict[str, Any]) -> list[str]:
    """The page, under 40 lines."""
    machine = summary["machine"]
    name = (machine["device"] or {}).get("name", "no machine")
    matrix, bandwidth = _number(machine["matrix_tflops"], ".1f"), _number(machine["bandwidth_gb_s"], ",.0f")
    lines = [f"{name}: {matrix} TFLOP/s in bf16, {bandwidth} GB/s"]
    for check in summary["parity"]["checks"]:
        lines.append(
            f"parity {check['name']}: {'pass' if check['pass'] else 'FAIL'}; "
            f"places {'equal' if check['places_equal'] else 'DIFFER'}, "
            f"samples {_number(check['sampled_equal'], '.1%')} equal, "
            f"errors: loss {_number(check['loss_error'], '.1e')}, gradient {_number(check['gradient_error'], '.1e')}"
        )
    lines += [_verdicts(summary["graph"], summary["busy"])]
    lines += [f"{'':<50}{'tokens/s':>12}{'share':>8}{'peak MiB':>10}"] if summary["rows"] else []
    for row in summary["rows"][:SHOWN]:
        if "failed" in row:
            lines.append(f"{row['name']:<50}  {row['failed'][:60]}")
        else:
            share = _number(row["share_of_matrix_rate"], ".1%")
            lines.append(f"{row['name']:<50}{row['tokens_per_second']:>12,.0f}{share:>8}{row['peak_mib']:>10,.0f}")
    for name, ratio in list(summary["ratios"].items())[:4]:
        lines.append(
            f"{name}: {ratio['tokens_per_second']:.2f} times the tokens a second of transformers' best, "
            f"{ratio['peak_memory']:.2f} of its peak memory"
        )
    run = summary["run"]
    if "to_step" in run:
        lines.append(
            f"run: {run['recipe']}, steps {run['from_step']:,} to {run['to_step']:,} "
            f"of {run['steps_of_the_recipe']:,}, "
            f"{run['tokens_per_second']:,.0f} tokens/s, waits for data {run['data_wait']:.1%} of the time"
        )
    lines += [f"failed: {line[:150]}" for line in summary["failed"][:4]]
    return lines


def _verdicts(graph: dict[str, Any], busy: float | None) -> str:
    if not graph["verdicts"]:
        return "graph: not measured"
    words = [f"{name}: {'yes' if passed else 'NO'}" for name, passed in graph["verdicts"].items()]
    kinds = (graph["attention"] or {}).get("training", {}).get("kinds")
    words += [f"attention: {', '.join(kinds) or 'unknown'}"] if kinds is not None else []
    replayed = graph["cuda_graphs"] or {}
    if "speed" in replayed:
        words.append(f"CUDA graphs: {replayed['speed']['tokens_per_second']:,.0f} tokens/s")
    elif reason := replayed.get("why not"):
        words.append(f"CUDA graphs: {reason[:80]}")
    return f"step: {'; '.join(words)}; device busy {_number(busy, '.0%')}"


def _shape(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["recipe"], row["rows"], row["length"]


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)
