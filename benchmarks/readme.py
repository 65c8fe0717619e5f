"""The speed table in README.md, from the newest results of each kind: `python benchmarks/readme.py`.

--check writes nothing, and fails where the table is not what the results say.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- speed: from benchmarks/results, by benchmarks/readme.py -->", "<!-- end of speed -->"
HEAD = "| ratio | what | ours | beside it | machine |\n|---:|---|---:|---:|---|"


class Line(NamedTuple):
    """A line of the table: the ratio, of what, our figure with its spread, the other's."""

    ratio: str
    what: str
    ours: str
    beside: str


def step(found: dict[str, Any]) -> Line:
    ours, theirs = best(found, "electrain"), best(found, "transformers")
    what = (
        f"joint ELECTRA step, {found['size']}, batch {found['batch']} × {found['length']}, against transformers' best"
    )
    if memory := found.get("memory_to_best_transformers"):
        what += f"; {memory:.2f} of its memory"
    return Line(times(ours["rate"] / theirs["rate"]), what, *spreads("tokens/s", ours, theirs))


def finetune(found: dict[str, Any]) -> Line:
    ours, theirs = best(found, "electrain"), best(found, "transformers")
    what = f"fine-tuning, {found['size']}, {found['data']}, against transformers' Trainer"
    return Line(times(ours["rate"] / theirs["rate"]), what, *spreads("examples/s", ours, theirs))


def roofline(found: dict[str, Any]) -> Line:
    step, products = (1000 * found[name] for name in ("step_seconds", "products_seconds"))
    what = f"the same step, {found['size']}, beside its matrix products alone, each at its own shape"
    return Line(f"{found['share_of_products']:.0%}", what, f"{step:,.0f} ms", f"{products:,.0f} ms")


def prepare(found: dict[str, Any]) -> Line:
    bare, ours = (found["variants"][name] for name in ("tokenizers encode_batch", "electrain prepare"))
    what = f"time of `prepare`, {found['bytes'] / 1e6:.0f} MB on {found['cores']} cores, against the bare tokenizer"
    if "ratio_of_work" in found:
        what += f"; {found['ratio_of_work']:.2f} times its processor time"
    return Line(
        times(found["ratio_to_bare_tokenizer"]),
        what,
        *(f"{part['seconds']:.1f} s ({part['lowest']:.1f} to {part['highest']:.1f})" for part in (ours, bare)),
    )


def memory(found: dict[str, Any]) -> Line:
    sizes = sorted(found["sizes"], key=int)
    short, long = (max(found["sizes"][size]["peak_mib"].values()) for size in (sizes[0], sizes[-1]))
    one, other = (f"{int(size) / 1e6:,.0f} MB" for size in (sizes[-1], sizes[0]))
    what = f"peak memory of `prepare`, {found['cores']} processes, for {one} of text against {other}"
    return Line(times(long / short), what, f"{long:,.0f} MiB", f"{short:,.0f} MiB")


def loader(found: dict[str, Any]) -> Line:
    least = min(value["rate_of_processor"] for value in found["variants"].values())
    what = "loader on one thread, by processor time, the slowest case against the joint ELECTRA-Small step on CPU"
    return Line(
        f"{found['ratio_to_step']:,.0f} ×",
        what,
        f"{least:,.0f} tokens/s",
        f"{found['step_rate']:,.0f} tokens/s ({found['step_machine']})",
    )


def systems(found: dict[str, Any]) -> Line:
    name = max(found["saved"], key=lambda name: found["saved"][name]["speed"])
    ours, joint = found["systems"][name], found["systems"]["joint"]
    what = f"the step of `{name}`, {found['size']}, batch {found['batch']} × {found['length']}, against the joint one"
    what += (
        f"{'' if found['compiled'] else ', neither compiled'}; {ours['peak_mib'] / joint['peak_mib']:.2f} of its memory"
    )
    return Line(times(ours["rate"] / joint["rate"]), what, *spreads("tokens/s", ours, joint))


def packed(found: dict[str, Any]) -> Line:
    ours, beside = (found["ways"][name] for name in ("packed, apart", "padded to the row"))
    what = (
        f"{found['size']} over documents of {found['mean']:.0f} tokens, packed into rows of {found['length']} and kept "
        "apart, against a padded row each"
    )
    return Line(times(ours["rate"] / beside["rate"]), what, *spreads("real tokens/s", ours, beside))


# By how "what" begins, in the order of the table.
KINDS: dict[str, Callable[[dict[str, Any]], Line]] = {
    "tokens a second of the joint ELECTRA step": step,
    "the joint step against its matrix products": roofline,
    "what systems save against the joint ELECTRA": systems,
    "real tokens a second of the modern encoder": packed,
    "examples a second of fine-tuning": finetune,
    "seconds of electrain prepare": prepare,
    "peak resident memory of electrain prepare": memory,
    "tokens a second of the loader": loader,
}


def best(found: dict[str, Any], whose: str) -> dict[str, float]:
    """The fastest variant whose name begins so."""
    return max(
        (value for name, value in found["variants"].items() if name.startswith(whose)), key=lambda value: value["rate"]
    )


def times(ratio: float) -> str:
    return f"{ratio:.2f} ×"


def spreads(unit: str, *variants: dict[str, float]) -> list[str]:
    return [f"{value['rate']:,.0f} {unit} ({value['lowest']:,.0f} to {value['highest']:,.0f})" for value in variants]


def table(results: Path) -> str:
    """A line for the newest file of every kind, size, machine and systems; files of other kinds are left out."""
    newest: dict[tuple[int, str, str, str], dict[str, Any]] = {}
    for path in sorted(results.glob("*.json")):
        found = json.loads(path.read_text())
        kind = next((number for number, what in enumerate(KINDS) if found.get("what", "").startswith(what)), None)
        if kind is None:
            continue
        key = kind, found.get("size", ""), found["machine"], " ".join(found.get("systems", ()))
        if key not in newest or found["date"] >= newest[key]["date"]:
            newest[key] = found
    makes = list(KINDS.values())
    lines = [
        f"| {' | '.join(makes[key[0]](found))} | {found['machine']} |"
        for key, found in sorted(newest.items(), key=lambda item: item[0])
    ]
    return "\n".join([BEGIN, HEAD, *lines, END])


def renewed(text: str, results: Path) -> str:
    """README's text with the table as the results have it now."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md: the lines {BEGIN} and {END} are missing; put them where the table belongs")
    return before + table(results) + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if README.md would change")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    text = args.readme.read_text(encoding="utf-8")
    new = renewed(text, args.results)
    if args.check:
        if new != text:
            sys.exit(
                f"{args.readme.name}: its speed table is not what the results say; run python benchmarks/readme.py"
            )
        return
    args.readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
