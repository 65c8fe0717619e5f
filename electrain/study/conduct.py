"""A study from the first step to the table: several recipes at equal operations, the same data in the same order."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from electrain import checkpoint
from electrain.compute import Compute, peak_memory
from electrain.data.shards import Shards
from electrain.errors import UserError, reason
from electrain.files import sha256, write
from electrain.lock import locked
from electrain.progress import shown
from electrain.recipes import recipe, sized
from electrain.recipes.sizes import SIZES, Size
from electrain.run import FREE, Record, Run, differences, settled
from electrain.start import FIGURES, STUDY, trained
from electrain.study.budget import afford, complete, operations, step_cost
from electrain.study.far import far
from electrain.study.figures import Figures, counted, held_out, probes, yardstick
from electrain.study.ladder import study
from electrain.study.table import save
from electrain.study.workers import Job, side_by_side
from electrain.tracking import say
from electrain.train import pretrain
from electrain.vocab import Vocab

UNTRAINED = "untrained"
_LOGS = "logs"


@dataclass(frozen=True)
class Conduct:
    """Train several recipes for equally many operations on the same rows, and lay them side by side in one table.

    Every run is a folder of its own in OUT; the command given again goes on where it was stopped.
    """

    data: Path
    """Folder that `electrain prepare` made."""
    out: Path
    """Folder of the study: a run folder for every recipe and seed, table.md, table.csv, plot.png, plot.html."""
    size: Literal["tiny", "small", "base", "large", "modern-tiny", "modern-small"] = "tiny"
    """Size that every recipe is run at."""
    recipes: tuple[str, ...] = ()
    """Names of recipes, in place of the study's own."""
    budget: float = 0.0
    """Training operations of every run (2mnk a matrix product); 0 for those of --steps."""
    steps: int = 0
    """In place of --budget: what so many steps of the joint ELECTRA cost; 0 for the steps of the size."""
    seeds: int = 2
    """Runs of every recipe, with seeds 0, 1, ..."""
    workers: int = 1
    """Runs made at the same time; with --compute.threads 1, as many as there are cores."""
    rows: int = 1024
    """Held-out rows that every run is judged on."""
    compute: Compute = field(default_factory=Compute)
    """Device, number format, compilation."""

    def __post_init__(self) -> None:
        for name, least in (("budget", 0), ("steps", 0), ("seeds", 1), ("workers", 1), ("rows", 2)):
            if not least <= getattr(self, name) < float("inf"):
                raise UserError(f"study: {name} is {getattr(self, name)}; choose {least} or more")
        if self.budget and self.steps:
            raise UserError("study: --budget and --steps say the same thing; give one of them")


def conduct(name: str, chosen: Conduct, command: str = "") -> list[Path]:
    """Make, or go on with, the study `name`; returns the files of the outcome.

    UserError for input that cannot be used, and at the end if a run failed; Stopped after SIGTERM.
    """
    which, size = study(name), SIZES[chosen.size]
    vocab = Shards.open(chosen.data).vocab
    held_out = which.baseline(size).packing.build(Shards.open(chosen.data, "validation"), size.length)
    if held_out.rows < min(64, chosen.rows):
        raise UserError(
            f"{chosen.data}: the held-out text fills {held_out.rows} rows of {size.length} tokens, too few to judge "
            "by; prepare with a larger --validation, or give fewer --rows"
        )
    functions = [recipe(word) for word in chosen.recipes] or list(which.recipes)
    steps = chosen.steps or size.steps
    budget = chosen.budget or steps * step_cost(which.baseline(size), chosen.data, vocab)
    runs = planned(functions, size, budget, chosen, vocab)
    plan = {"study": name, "size": chosen.size, "budget": budget, "rows": chosen.rows, "data_sha256": _digest(chosen)}
    _begin(chosen.out, plan)
    fresh = runs[0] if chosen.recipes else which.baseline(size)
    with locked(chosen.out, f"study {name}"):
        return _made(name, runs, fresh, budget, chosen, command)


def _made(name: str, runs: list[Run], fresh: Run, budget: float, chosen: Conduct, command: str) -> list[Path]:
    jobs = _jobs(runs, fresh, chosen, command)
    say(f"{len(runs)} recipes, {chosen.seeds} seeds, {budget:.3g} operations a run")
    for run in runs:
        before = f" after {run.first.steps:,} of a first stage" if run.first is not None else ""
        say(f"  {run.recipe}: {run.steps:,} steps of {run.batch * run.length:,} tokens{before}")

    title = f"{name} at size {chosen.size}: {budget:.3g} operations a run"
    order = [UNTRAINED, *(run.recipe for run in runs)]
    began, failed, ended = time.monotonic(), [], []
    with shown("study", lambda: far(jobs, ended)) if jobs else nullcontext():
        for job, wrong in side_by_side(jobs, chosen.workers):
            ended.append(job.name)
            if wrong:
                failed.append(job.name)
                say(f"{job.name} failed: {wrong}; its log is {job.log}")
            save(chosen.out, title, collected(chosen.out, order))
            say(f"{len(ended)} of {len(jobs)}: {job.name}; {(time.monotonic() - began) / 60:.0f} min")
    if not jobs:
        say(f"{chosen.out}: all runs are made, nothing to do but the table")
    written = save(chosen.out, title, collected(chosen.out, order))
    if failed:
        raise UserError(f"{chosen.out}: {len(failed)} of {len(jobs)} runs failed ({', '.join(failed)}); see the logs")
    return written


def planned(functions: list[Callable[..., Run]], size: Size, budget: float, chosen: Conduct, vocab: Vocab) -> list[Run]:
    """The runs of seed 0, each with the steps that it can afford; recipes that need what is not there are skipped.

    UserError if none is left, a recipe comes in no size, or the budget is too small for one.
    """
    runs = []
    for function in functions:
        run = sized(function, size)
        try:
            run = complete(run, size, chosen.data)
        except UserError as error:
            say(f"skipped: {run.recipe}: {error}")
            continue
        runs.append(_placed(afford(run, budget, chosen.data, vocab), chosen))
    if not runs:
        raise UserError("study: no recipe is left; name others with --recipes")
    names = [run.recipe for run in runs]
    if again := {name for name in names if names.count(name) > 1}:
        raise UserError(f"study: {min(again)} is named twice; name every recipe once")
    return runs


def _placed(run: Run, chosen: Conduct) -> Run:
    """The run on the machine that was chosen, logged some twenty times, evaluated some eight, kept at its end."""
    first = None if run.first is None else _placed(run.first, chosen)
    often = {"log_every": min(run.log_every, max(1, run.steps // 20)), "eval_every": max(1, run.steps // 8), "keep": 1}
    return replace(run, compute=chosen.compute, first=first, eval_rows=chosen.rows, **often)


def _seeded(run: Run, seed: int) -> Run:
    return replace(run, seed=seed, first=None if run.first is None else _seeded(run.first, seed))


def _digest(chosen: Conduct) -> str:
    return sha256(chosen.data / "manifest.json")


def _begin(out: Path, plan: dict[str, object]) -> None:
    """Make OUT, or check that the study in it is this one. UserError if it holds anything else."""
    path = out / STUDY
    if path.is_file():
        try:
            old = json.loads(path.read_text())
            if not isinstance(old, dict):
                raise ValueError("it holds no plan")
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read ({reason(error)}); choose another --out") from error
        if changed := [f"{name}: {old.get(name)} -> {value}" for name, value in plan.items() if old.get(name) != value]:
            raise UserError(f"{out}: holds another study ({'; '.join(changed)}); choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(path.name[0] != "." and path.name != _LOGS for path in out.iterdir())):
        raise UserError(f"{out}: holds other files; choose an empty or a new folder for --out")
    try:
        (out / _LOGS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be made ({error.strerror or error})") from error
    write(path, (json.dumps(plan, indent=1) + "\n").encode())


def _jobs(runs: list[Run], fresh: Run, chosen: Conduct, command: str) -> list[Job]:
    """What is still to be done, seed by seed; `fresh`: whose encoder is judged untrained.

    UserError if a run in OUT has other settings.
    """
    jobs = []
    for seed in range(chosen.seeds):
        for run in [None, *runs]:
            name = f"{UNTRAINED if run is None else run.recipe}-seed{seed}"
            out = chosen.out / name
            if run is not None and trained(out):
                old = Record.load(out).run
                # Not on another machine half-way: a study compares speeds too.
                if changed := differences(old, settled(_seeded(run, seed), old), FREE - {"compute"}):
                    raise UserError(f"{out}: has other settings ({'; '.join(changed)}); choose another --out")
            if (out / FIGURES).is_file():
                continue
            log = chosen.out / _LOGS / f"{name}.log"
            if run is None:
                start = replace(fresh, seed=seed, compute=chosen.compute)
                jobs.append(Job(name, judge_untrained, (start, chosen.data, out, chosen.rows), log))
            else:
                jobs.append(
                    Job(name, train_and_judge, (_seeded(run, seed), chosen.data, out, chosen.rows, command), log)
                )
    return jobs


def train_and_judge(run: Run, data: Path, out: Path, rows: int, command: str) -> None:
    """Train a run, or go on with it, and write its figures beside it."""
    path = pretrain(run, data, out, command)
    device = run.compute.start()
    memory, vocab = peak_memory(device), Shards.open(data).vocab
    settled_run = Record.load(out).run
    system = settled_run.system.build(vocab).to(device)
    checkpoint.load_weights(system, path)
    cost = {"operations": operations(run, data, vocab), "memory": memory}
    Figures(run.recipe, run.seed, **counted(run, out), **cost, **yardstick(system, data, run, rows)).save(out)


def judge_untrained(run: Run, data: Path, out: Path, rows: int) -> None:
    """Write the figures of a run's encoder with the weights that it would start from."""
    device = run.compute.start()
    torch.manual_seed(run.seed)
    encoder = run.system.encoder.build(Shards.open(data).vocab).to(device)
    out.mkdir(exist_ok=True)
    Figures(UNTRAINED, run.seed, **probes(encoder, held_out(data, run, rows, device))).save(out)


def collected(out: Path, order: list[str]) -> list[Figures]:
    """The figures of every finished run in OUT: recipes in the given order, others behind them, seeds ascending."""
    found = [Figures.load(path) for path in out.glob(f"*-seed*/{FIGURES}")]
    place = {name: number for number, name in enumerate(order)}
    return sorted(found, key=lambda one: (place.get(one.recipe, len(place)), one.recipe, one.seed))
