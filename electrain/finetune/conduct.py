"""`electrain finetune`: a task or all of GLUE, several seeds, what is finished skipped."""

import hashlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from electrain.arguments import meant
from electrain.compute import number_format
from electrain.encoders.base import Encoder, plain
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.finetune.card import card
from electrain.finetune.export import to_transformers, unwritable
from electrain.finetune.glue import SCORED, TASKS, NoData, glue_score
from electrain.finetune.loop import Fitted, fit, predict
from electrain.finetune.results import Result, Results
from electrain.finetune.settings import Finetune
from electrain.finetune.task import Task
from electrain.finetune.tasks import NAMES, task_of
from electrain.hub.opened import Opened, opened
from electrain.lock import locked
from electrain.start import machine, versions
from electrain.tracking import say

# Do not change what a fine-tuning computes, or are told by digests; of `compute` its number format does, and is kept.
_FREE = {"out", "seeds", "keep", "save_minutes", "model", "data", "train", "dev", "checkpoint", "compute"}


def finetune(name: str, how: Finetune, command: str = "") -> Table:
    """Fine-tune and judge on a task, or on all of GLUE; returns the table of results. UserError for bad input."""
    if name not in (*NAMES, "glue"):
        hint = meant(name, ("glue", *NAMES))
        raise UserError(f"finetune: there is no task {name!r}; {hint}choose one of glue, {', '.join(NAMES)}")
    if how.out.exists() and not how.out.is_dir():
        raise UserError(f"--out {how.out}: is a file; choose a folder")
    if how.untrained:
        torch.manual_seed(0)  # of the fresh encoder
    model = opened(how.model, how.checkpoint, fresh=how.untrained)
    model = model._replace(encoder=plain(model.encoder))
    table = Table("task", "split", "metric", "median", "mean", "sd", "runs")
    if name != "glue":
        _rows(table, name, _alone(name, how, model, command).summary())
        return table
    medians: dict[str, float] = {}
    for part in TASKS:
        try:
            summary = _alone(part, how, model, command).summary()
        except NoData as error:
            say(f"{part}: left out ({error})")
            continue
        medians[part] = summary["median"]
        _rows(table, part, summary)
    score = glue_score(medians)
    without = f", without {', '.join(score.missing)}: no published score is like it" if score.missing else ""
    count = len(SCORED) - len(score.missing)
    table.add_row("GLUE score", "dev", f"mean of {count} tasks{without}", f"{score.value:.4f}", "", "", "")
    return table


def _alone(name: str, how: Finetune, model: Opened, command: str) -> Results:
    with locked(how.out / name, f"finetune {name}"):
        return _task(name, how, model, command)


def _task(name: str, how: Finetune, model: Opened, command: str) -> Results:
    most = longest(model.encoder)
    if how.length is not None and how.length > most:
        raise UserError(f"--length {how.length}: the encoder has {most} positions; choose {most} or less")
    length = min(how.length or (512 if name.startswith("squad") else 128), most)
    head = how.head_over(model.encoder)
    task = task_of(name, how, model.tokenizer, model.vocab, length, head)
    rows = task.rows("train")
    digests = {"model": _digest(model.encoder), "rows": _digest_rows(task)}
    settings = {key: value for key, value in asdict(how).items() if key not in _FREE}
    dtype = number_format(how.compute.precision(how.compute.start()))
    settings |= {"length": length, "head": head, "dtype": dtype, "task": name, "digests": digests}
    notes = {"command": command, "model": how.model, "versions": versions(), "machine": machine()}
    results = Results(how.out / name, settings, notes)
    done = results.done()
    say(f"{name}: {len(rows):,} training rows")
    for line in task.about():
        say(f"{name}: {line}")
    if how.keep != "none" and (why := unwritable(model.encoder, task.head(model.encoder, how.dropout))):
        say(f"{name}: {why}; only the results will be kept")
    for seed in range(how.seeds):
        folder = results.folder / f"seed-{seed}"
        if seed in done:
            say(f"{name}: seed {seed} is finished ({done[seed].metric} {done[seed].value:.4f})")
            continue
        fitted = fit(task, model.encoder, model.vocab, how, seed, folder)
        result = _judge(task, fitted, model, how, seed, folder)
        kept = max(done.values(), key=lambda other: other.value, default=None)
        if how.keep == "all" or (how.keep == "best" and (kept is None or result.value > kept.value)):
            text = card(task, result, how.model, fitted.steps)
            to_transformers(fitted.model, model.vocab, model.tokenizer, folder / "model", task, text)
            if how.keep == "best" and kept is not None:
                shutil.rmtree(results.folder / f"seed-{kept.seed}" / "model", ignore_errors=True)
        results.add(result)
        done[seed] = result
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        say(f"{name}: seed {seed}  {result.metric} {result.value:.4f}  {result.examples_per_second:,.0f} examples/s")
    return results


def _judge(task: Task, fitted: Fitted, model: Opened, how: Finetune, seed: int, folder: Path) -> Result:
    scores = {}
    for split in (*task.judged, *task.unknown):
        predictions = predict(fitted.model, task.rows(split), model.vocab, how)
        if split in task.judged:
            scores[split] = task.score(split, predictions)
        folder.mkdir(parents=True, exist_ok=True)
        task.write(split, predictions, folder)
    value = scores[task.judged[0]][task.metric]
    return Result(seed, task.metric, value, scores, fitted.loss, fitted.steps, fitted.examples_per_second)


def longest(encoder: Encoder) -> int:
    """Positions of an encoder; 512 where it does not say."""
    return encoder.config.positions if isinstance(encoder.config, Bert.Config | Modern.Config) else 512


def _rows(table: Table, name: str, summary: dict[str, Any]) -> None:
    for split, scores in summary["splits"].items():
        for metric, figures in scores.items():
            deviation = "" if figures["sd"] is None else f"{figures['sd']:.4f}"
            runs = " ".join(f"{value:.4f}" for value in figures["runs"])
            mark = " *" if metric == summary["metric"] and split == next(iter(summary["splits"])) else ""
            table.add_row(
                name, split, metric + mark, f"{figures['median']:.4f}", f"{figures['mean']:.4f}", deviation, runs
            )


def _digest(encoder: Encoder) -> str:
    sum_ = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        sum_.update(name.encode())
        sum_.update(value.detach().contiguous().cpu().numpy().tobytes())
    return sum_.hexdigest()


def _digest_rows(task: Task) -> str:
    sum_ = hashlib.sha256()
    for split in ("train", *task.judged):
        for row in task.rows(split):
            sum_.update(np.asarray(row.ids).tobytes())
            sum_.update(np.asarray(row.target).tobytes())
    return sum_.hexdigest()
