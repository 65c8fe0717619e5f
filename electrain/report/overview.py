"""The words of a report: where the runs stand, what went wrong, what was run and how to do it again."""

import json
from typing import Any

from electrain.report import recorded
from electrain.report.history import History
from electrain.report.page import table, terms
from electrain.report.styles import style, swatch
from electrain.report.tags import Html, join, tag

_HELD_OUT = {
    "loss": ("loss", "{:.4g}"),
    "mlm_accuracy": ("masked-LM accuracy", "{:.1%}"),
    "rtd_auc": ("discriminator AUC", "{:.3f}"),
    "replaced": ("replaced", "{:.1%}"),
}
_LONG = 80  # characters of a value in the list of differences


def standing(runs: list[History]) -> Html:
    """A line a run: how far it is, what it has spent, its last held-out figures."""
    names = [name for name in _HELD_OUT if any(run.lines.eval.last(name) is not None for run in runs)]
    head: list[object] = ["run", "state", "step", "tokens", "operations", "hours", *(_HELD_OUT[n][0] for n in names)]
    rows = []
    for number, run in enumerate(runs):
        spent = run.spent
        figures = [(run.lines.eval.last(name), _HELD_OUT[name][1]) for name in names]
        rows.append([
            join(swatch(style(number)), " ", run.name),
            {"finished": "finished", "running": "running", "stopped": "stopped", "empty": "no line yet"}[run.state],
            f"{run.lines.step:,} of {run.steps:,}",
            f"{spent.tokens:,.0f}",
            "–" if spent.operations is None else f"{spent.operations:.3g}",
            f"{spent.hours:,.2f}",
            *("–" if value is None else form.format(value) for value, form in figures),
        ])  # fmt: skip
    more = "; tokens, operations and hours with those of the first stage" if any(run.before for run in runs) else ""
    return table(head, rows, f"Where it stands. Figures are held out, the last ones{more}.")


def troubles(runs: list[History]) -> Html | None:
    """Bad steps, warnings and damage to the logs; None where there is nothing to say."""
    parts = []
    for run in runs:
        items = [tag("li", f"step {step:,}: {said}") for step, said in run.warnings[:50]]
        if len(run.warnings) > 50:
            items.append(tag("li", f"and {len(run.warnings) - 50:,} more"))
        if run.lines.damaged:
            items.append(tag("li", f"metrics.jsonl: {run.lines.damaged:,} damaged line(s) are left out"))
        if items:
            parts += [tag("h3", run.name) if len(runs) > 1 else None, tag("ul", *items, class_="warnings")]
    return tag("section", tag("h2", "Warnings"), *parts) if parts else None


def cards(runs: list[History]) -> Html:
    """What was run and on what, every setting of it, and the command to do it again."""
    return tag("section", tag("h2", "What was run"), *(_card(run, number) for number, run in enumerate(runs)))


def _card(run: History, number: int) -> Html:
    said = run.recorded
    tree = said.tree["run"]
    name = tree.get("recipe") if isinstance(tree.get("recipe"), str) else ""
    size = f", at size {said.size}" if said.size else ""
    rows = f"{run.steps:,} steps of {tree['batch']:,} rows of {tree['length']:,} tokens"
    versions = ", ".join(f"{library} {number}" for library, number in said.versions.items())
    digest = f" (SHA-256 of its manifest {said.said('data_sha256')[:12]}…)" if said.said("data_sha256") else ""
    known: list[tuple[str, object]] = [
        ("recipe", f"{name}{size}"),
        ("which is", said.about),
        ("training", rows),
        ("seed", str(tree["seed"])),
        ("parameters", _parameters(said)),
        ("operations", _operations(run)),
        ("data", said.said("data") + digest),
        *recorded.corpus(said),
        ("tokenizer", said.tokenizer),
        ("machine", said.said("machine")),
        ("versions", versions),
    ]
    return tag(
        "article",
        tag("h3", swatch(style(number)), " ", run.name),
        terms(known),
        tag("p", f"Not all of run.json is known here ({said.unread}).", class_="soft") if said.unread else None,
        _differences(said),
        tag("details", tag("summary", "Every setting"), tag("pre", json.dumps(tree, indent=1))),
        tag("h4", "To do it again"),
        tag("pre", said.said("command")) if said.said("command")
        else tag("p", "It was started from Python, so no command is recorded; the settings above are all of it."),
        id=f"run-{number}",
    )  # fmt: skip


def _parameters(said: recorded.Recorded) -> str:
    if said.parameters is None:
        return ""
    parts = ", ".join(f"{name} {value:,}" for name, value in said.parameters._asdict().items() if value)
    return f"{said.parameters.model:,} of the model, {sum(said.parameters):,} in training ({parts})"


def _operations(run: History) -> str:
    if run.recorded.operations is None:
        return ""
    whole = run.recorded.operations * float(run.whole(run.steps))
    return f"{run.recorded.operations:.3g} a whole update, {whole:.3g} in all (2mnk a product)"


def _differences(said: recorded.Recorded) -> Html | None:
    if not said.differences:
        return tag("p", "All settings are the recipe's.", class_="soft") if said.about else None
    rows: list[list[object]] = [[name, _short(own), _short(here)] for name, own, here in said.differences]
    return table(["setting", "the recipe's", "here"], rows, "What differs from the recipe", class_="words")


def _short(value: Any) -> str:
    words = json.dumps(value)
    return words if len(words) <= _LONG else f"{words[: _LONG - 1]}…"
