"""The pre-training loop, read top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from electrain import checkpoint
from electrain.batch import Batch
from electrain.compute import Step
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.errors import Stopped, UserError
from electrain.hub.source import Folders
from electrain.metrics import Metrics, add, read
from electrain.run import Record, Run, settled
from electrain.signals import collected
from electrain.source import Source
from electrain.start import FIRST, begin, check_free
from electrain.systems.base import Pretraining
from electrain.tracking import Bar, Log, say, trackers
from electrain.watch import Watch


def pretrain(
    run: Run, data: Path, out: Path, command: str = "", fill: Callable[[Pretraining], str] | None = None
) -> Path:
    """Train, or go on with the run in `out`; returns the folder of the last checkpoint.

    fill: gives a new run's system its first weights, and says what it did; without it they are random
    UserError for input that cannot be used; Stopped after SIGTERM or Ctrl-C, with everything saved.
    """
    check_free(run, out)
    begun = bool(checkpoint.listed(out))
    if run.first is not None and not begun:
        say(f"first stage: {out / FIRST}")
        pretrain(run.first, data, out / FIRST, command)
        say(f"second stage: {out}")
    device = run.compute.start()
    dtype = run.compute.precision(device)
    shards = Shards.open(data)
    source = Folders(data, out / FIRST if run.first is not None else None)
    # On a run in progress nothing is read from elsewhere any more: it may be gone, or another.
    run = settled(run, Record.load(out).run) if begun else replace(run, system=run.system.resolve(source))
    run.system.check(run.length)
    torch.manual_seed(run.seed)  # of the fresh weights; nothing after this draws from it
    system = run.system.build(shards.vocab).to(device)
    optimizer = run.optim.build(system)
    packing = run.packing.build(shards, run.length)
    loader = Loader(
        packing,
        shards.vocab,
        batch=run.batch,
        seed=run.seed,
        accumulate=run.accumulate,
        reader=run.system.reader(source, packing),
    )
    held_out = _held_out(run, data, source)

    filled = [] if begun else [system.start(source), fill(system) if fill is not None else ""]

    begin(run, shards, out, command)  # nothing is written before all of the above fits together
    state: dict[str, Any] = {"step": 0, "window": {}, "best": None}
    newest = checkpoint.latest(out, say)
    if newest is not None:
        state = checkpoint.load(newest, system, optimizer)
        if state["step"] >= run.steps:
            say(f"{out}: all {run.steps} steps are made, nothing to do")
            return newest
        say(f"going on from {newest}")
    elif checkpoint.listed(out):
        raise UserError(f"{out}: none of its checkpoints is whole; restore one, or start again in another --out")
    for line in filter(None, filled):
        say(line)
    first = state["step"]
    checkpoint.sweep(out, first)

    step_of = Step(system, dtype, run.compute.compile, say)
    others = trackers(run.track, out, run.to_json())
    log, bar, watch = Log(out, first), Bar(run.steps, first), Watch(run.steps)
    window: Metrics | None = {k: torch.tensor(v, device=device) for k, v in state["window"].items()} or None
    norm = torch.zeros((), device=device)
    began, since, waited, saved_at = time.monotonic(), first, 0.0, time.monotonic()

    def save(step: int) -> Path:
        kept = {name: value.tolist() for name, value in (window or {}).items()}
        path = checkpoint.save(out, step, system, optimizer, {"window": kept, "best": state["best"]})
        checkpoint.prune(out, run.keep, state["best"] and state["best"]["checkpoint"])
        return path

    path = newest
    with collected() as asked:
        try:
            for step, batches in enumerate(loader.stream(first, run.steps, device), start=first):
                rates = run.optim.set_rate(optimizer, step, run.steps)
                system.before(step, run.seed)
                progress = torch.full((), step / run.steps, device=device)  # not a copy from the host, which would wait
                here: Metrics | None = None
                for batch in batches:
                    output = step_of(_to(batch, device), progress)
                    (output.loss / run.accumulate).backward()
                    here = add(here, output.metrics)
                window = add(window, here or {})
                norm = run.optim.clip_gradients(system)
                done = step + 1
                if device.type == "cpu" or done % run.log_every == 0:
                    _check_finite({"loss": output.loss, "gradient": norm}, done, path)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                system.after(step, here or {})
                bar.update(done, None)

                if done % run.log_every == 0 or done == run.steps:
                    values = read(window or {})
                    window = None
                    seconds = time.monotonic() - began
                    timing = {
                        "tokens_per_second": (done - since) * run.batch * run.length / seconds,
                        "data_wait": (loader.waited - waited) / seconds,
                    }
                    began, since, waited = time.monotonic(), done, loader.waited
                    values |= {**rates, "grad_norm": norm.item()}
                    log.write({"step": done, "kind": "train", **values, **timing})
                    bar.update(done, values | timing)
                    for other in others:
                        other.log({f"train/{k}": v for k, v in (values | timing).items()}, done)
                    for warning in watch.observe(done, values):
                        say(f"warning: {warning}")

                better = False
                if done % run.eval_every == 0 or done == run.steps:
                    pause = time.monotonic()
                    values = evaluate(system, held_out, run, dtype, device, done / run.steps)
                    log.write({"step": done, "kind": "eval", **values})
                    for other in others:
                        other.log({f"eval/{k}": v for k, v in values.items()}, done)
                    say(f"step {done}  held out: {_evaluation(values)}")
                    better = state["best"] is None or values["loss"] < state["best"]["loss"]
                    if better:
                        state["best"] = {"loss": values["loss"], "checkpoint": f"step-{done:06d}"}
                    began += time.monotonic() - pause

                late = run.save_minutes and time.monotonic() - saved_at > 60 * run.save_minutes
                stop = bool(asked)  # read once: a signal that comes later waits for the next step, which will be saved
                if better or late or stop or done % run.save_every == 0 or done == run.steps:
                    pause = time.monotonic()
                    # On a GPU the losses since the last log line are unread; anywhere this update may have overflowed.
                    _check_finite({"norm of the weights": _norm(system)}, done, path)
                    path = save(done)
                    saved_at = time.monotonic()
                    began += saved_at - pause
                if stop and done < run.steps:
                    say(f"stopped at step {done}, saved in {path}; the same command goes on from there")
                    raise Stopped(asked[0])
        finally:
            bar.close()
            log.close()
            for other in others:
                other.close()
    assert path is not None
    return path


def evaluate(
    system: Pretraining, loader: Loader, run: Run, dtype: torch.dtype, device: torch.device, at: float
) -> dict[str, float]:
    """Metrics over the run's held-out rows, the same rows and draws every time, without dropout."""
    step_of = Step(system, dtype, compile=False, say=say)
    total: Metrics | None = None
    system.eval()
    with torch.no_grad():
        for number in range(math.ceil(run.eval_rows / loader.batch)):
            for batch in loader.step(number):
                total = add(total, step_of(_to(batch, device), torch.tensor(at, device=device)).metrics)
    system.train()
    assert total is not None
    return read(total)


def _held_out(run: Run, data: Path, source: Source) -> Loader:
    shards = Shards.open(data, "validation")
    size = min(run.batch // run.accumulate, run.eval_rows)
    packing = run.packing.build(shards, run.length)
    return Loader(packing, shards.vocab, batch=size, seed=0, reader=run.system.reader(source, packing))


def _to(batch: Batch, device: torch.device) -> Batch:
    return batch if device.type == "cpu" else batch.map(lambda tensor: tensor.to(device, non_blocking=True))


def _norm(system: Pretraining) -> Tensor:
    return torch.nn.utils.get_total_norm([parameter.detach() for parameter in system.parameters()])


def _check_finite(numbers: dict[str, Tensor], step: int, good: Path | None) -> None:
    if torch.stack([*numbers.values()]).isfinite().all():
        return
    what = next(name for name, number in numbers.items() if not number.isfinite())
    kept = f"the last good checkpoint is {good}" if good else "no checkpoint was made yet"
    raise UserError(f"step {step}: the {what} is not finite; {kept}. Try a lower learning rate or longer warm-up")


def _evaluation(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
