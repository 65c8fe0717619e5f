"""The pre-training loop, read top to bottom."""

import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from electrain import checkpoint, distributed, samples
from electrain.about import about
from electrain.batch import Batch
from electrain.checkpoint import Saver
from electrain.compute import Step, number_format, peak_memory
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.distributed import Spread, agreed, common, first, told, whole
from electrain.errors import Stopped, UserError
from electrain.guard import Bad, Guard, leave_out, number
from electrain.hub.source import Folders
from electrain.loading import held_out, training
from electrain.lock import locked
from electrain.metrics import Metrics, add, gathered, read
from electrain.progress import Bar
from electrain.run import Record, Run, identity, settled
from electrain.signals import collected
from electrain.start import FIRST, begin, check_free, digest
from electrain.systems.base import Pretraining
from electrain.tracking import Clock, Log, describe, installed, say, trackers
from electrain.watch import Watch


def pretrain(
    run: Run, data: Path, out: Path, command: str = "", fill: Callable[[Pretraining], str] | None = None
) -> Path:
    """Train, or go on with the run in `out`; returns the folder of the last checkpoint.

    fill: gives a new run's system its first weights, and says what it did; without it they are random
    UserError for input that cannot be used; Stopped after SIGTERM or Ctrl-C, with everything saved.
    """
    with distributed.together(run.parallel, cuda=run.compute.on_gpu()), ExitStack() as held:
        told(lambda: check_free(run, out))
        told(lambda: installed(run.track))
        told(lambda: held.enter_context(locked(out, "pretrain")))
        begun = told(lambda: bool(checkpoint.listed(out)))
        if run.first is not None and not begun:
            say(f"first stage: {out / FIRST}")
            pretrain(run.first, data, out / FIRST, command)
            say(f"second stage: {out}")
        parts = agreed(lambda: _built(run, data, out, begun, fill))
        told(lambda: begin(parts.run, parts.shards, out, command))  # nothing is written before all fits together
        spread = parts.spread()
        optimizer = parts.run.optim.build(parts.system)
        passed: list[int] = []
        while (path := _go(parts, spread, optimizer, out, passed)) is None:
            optimizer.zero_grad(set_to_none=True)  # of the bad step
        return path


@dataclass
class _Parts:
    """What a run consists of before its first step, or before that from which it goes on."""

    run: Run
    device: torch.device
    shards: Shards
    system: Pretraining
    loader: Loader
    held_out: Loader | None
    said: list[str]

    def spread(self) -> Spread:
        """The system over the processes, ready for steps."""
        run, compute = self.run, self.run.compute
        compiled = distributed.shard(self.system, self.system.layers(), run.parallel, self.device, compute.compile)
        step = Step(self.system, compute.precision(self.device), compute.compile and not compiled, say)
        return Spread(self.system, step, run.parallel, leaves_out=self.system.variant() is not None)


def _built(run: Run, data: Path, out: Path, begun: bool, fill: Callable[[Pretraining], str] | None) -> _Parts:
    device = run.compute.start()
    shards = Shards.open(data)
    source = Folders(data, out / FIRST if run.first is not None else None)
    # On a run in progress nothing is read from elsewhere any more: it may be gone, or another.
    run = settled(run, Record.load(out).run) if begun else replace(run, system=run.system.resolve(source))
    run.system.check(run.length)
    torch.manual_seed(run.seed)  # of the fresh weights; nothing after this draws from it
    system = run.system.build(shards.vocab).to(device)
    loader = training(run, shards, source)
    beside = Shards.open(data, "validation")
    rows = held_out(run, beside, source) if beside.shards else None
    said = about(run, system, loader, device)
    if not begun:
        said.append(system.start(source))
    if fill is not None:
        said.append(
            "it keeps its weights: --start-from and --start-generator are for a new run" if begun else fill(system)
        )
    if rows is None:
        said.append(f"{data}: no text is held out there, so nothing is evaluated and no checkpoint is the best")
    return _Parts(run, device, shards, system, loader, rows, said)


def _go(parts: _Parts, spread: Spread, optimizer: torch.optim.Optimizer, out: Path, passed: list[int]) -> Path | None:
    """From the newest checkpoint to the last step, and the last checkpoint; or None, to go back to the newest one.

    passed: numbers of the rows that are passed over since a rewind; one more for each
    """
    run, device, system = parts.run, parts.device, parts.system
    dtype = run.compute.precision(device)
    numbers = number_format(dtype)
    of = Record.load(out).of or identity(run, digest(parts.shards))
    state: dict[str, Any] = {"step": 0, "window": {}, "best": None, "guard": None, "passed": [], "dtype": None}
    newest = told(lambda: _newest(out, of))
    if newest is not None:
        state |= agreed(lambda: checkpoint.load(newest, system, optimizer))
        if state["step"] >= run.steps:
            say(f"{out}: all {run.steps} steps are made, nothing to do")
            return newest
        say(f"going on from {newest}")
        if state["dtype"] not in (None, numbers):
            say(f"warning: until there it computed in {state['dtype']}, and does in {numbers} from there")
    for line in filter(None, parts.said):
        say(line)
    parts.said.clear()  # once, however often the run goes back
    start = state["step"]
    told(lambda: checkpoint.sweep(out, start))

    others = trackers(run.track, out, run.to_json()) if first() else []
    log, looks = Log(out, start), Log(out, start, samples.FILE)
    bar, watch = Bar(run.steps, start, speaks=first()), Watch(run.steps)
    guard = Guard(run.trouble, device, state["guard"])
    gone = sorted({*state["passed"], *passed})
    kept = state["window"] if first() else {}  # the sums of all processes: one goes on with them
    window: Metrics | None = {k: torch.tensor(v, device=device) for k, v in kept.items()} or None
    clock = Clock(run.tokens(start), lambda: parts.loader.waited)
    path, saved_at = newest, time.monotonic()

    def save(step: int) -> Path:
        nonlocal window
        sums = gathered(window or {})
        window = sums if sums and first() else None  # as in a run that goes on from here, or it would round otherwise
        kept = {name: value.tolist() for name, value in sums.items()}
        more = {"of": of, "window": kept, "best": state["best"], "guard": guard.state(), "passed": gone}
        return saver.save(step, system, optimizer, more | {"dtype": numbers})

    with collected() as asked, distributed.answering(), Saver(out, run.keep) as saver:
        try:
            if path is None and run.trouble.policy == "rewind":
                path = save(0)
            rows = (number(step, gone) for step in range(start, run.steps))
            for step, batches in enumerate(parts.loader.stream(rows, device), start=start):
                rates = run.optim.set_rate(optimizer, step, run.steps)
                system.before(step, run.seed)
                progress = torch.full((), step / run.steps, device=device)  # not a copy from the host, which would wait
                here: Metrics | None = None
                loss = torch.zeros((), device=device)
                if step == start:
                    spread.settle(_to(batches[0], device), progress)
                for micro, batch in enumerate(batches, start=1):
                    with spread.micro(last=micro == len(batches)):
                        output = spread.call(_to(batch, device), progress)
                        (output.loss / len(batches)).backward()
                    here = add(here, output.metrics)
                    loss += output.loss.detach() / len(batches)
                norm = whole(run.optim.clip_gradients(system))
                bad = guard.judge(step, loss, norm)
                done = step + 1
                logs, ends = done % run.log_every == 0, done == run.steps
                if (logs or ends or device.type == "cpu") and (found := guard.look()):
                    saver.wait()
                    if not _survives(found, run, log, path, gone, passed):
                        return None
                if run.trouble.policy == "skip":
                    here = {name: torch.where(bad, 0.0, value) for name, value in (here or {}).items()}
                    leave_out(optimizer, system, bad)
                window = add(window, here or {})
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                system.after(step, here or {})
                bar.update(done, None)

                if logs or ends:
                    values = read(gathered(window))
                    window = None
                    timing = {**clock.window(run.tokens(done)), "memory": peak_memory(device)}
                    values |= {**rates, "grad_norm": norm.item()}
                    log.write({"step": done, "kind": "train", **values, **timing})
                    bar.update(done, describe(values | timing))
                    for other in others:
                        other.log({f"train/{k}": v for k, v in (values | timing).items()}, done)
                    for warning in watch.observe(done, values):
                        say(f"warning: {warning}")

                better = False
                if parts.held_out is not None and (done % run.eval_every == 0 or ends):
                    with clock.paused(), samples.looking(system) as seen:
                        values = evaluate(system, parts.held_out, run, dtype, device, done / run.steps)
                    log.write({"step": done, "kind": "eval", **values})
                    looks.write({"step": done, "rows": seen})
                    for other in others:
                        other.log({f"eval/{k}": v for k, v in values.items()}, done)
                    say(f"step {done}  held out: {_evaluation(values)}")
                    better = state["best"] is None or values["loss"] < state["best"]["loss"]
                    if better:
                        state["best"] = {"loss": values["loss"], "checkpoint": f"step-{done:06d}"}

                # Read once: a signal that comes later waits for the next step, which will be saved.
                late = run.save_minutes > 0 and time.monotonic() - saved_at > 60 * run.save_minutes
                stop, late = distributed.any_of([bool(asked), late], done)
                if better or late or stop or done % run.save_every == 0 or ends:
                    with clock.paused():
                        # On a GPU the losses since the last line are unread; anywhere this update may have overflowed.
                        if not whole(_norm(system)).isfinite():
                            raise common(_diverged(Bad(step, "the norm of the weights is not finite"), path))
                        path = save(done)
                    saved_at = time.monotonic()
                if stop and not ends:
                    saver.wait()
                    say(f"stopped at step {done}, saved in {path}; the same command goes on from there")
                    raise Stopped(asked[0] if asked else signal.SIGTERM)
        finally:
            bar.close()
            log.close()
            looks.close()
            for other in others:
                other.close()
    assert path is not None
    return path


def _newest(out: Path, of: str) -> Path | None:
    newest = checkpoint.latest(out, say, of)
    if newest is None and checkpoint.listed(out):
        raise UserError(f"{out}: none of its checkpoints is whole; restore one, or start again in another --out")
    return newest


def _survives(found: list[Bad], run: Run, log: Log, path: Path | None, gone: list[int], passed: list[int]) -> bool:
    """Whether training goes on after bad steps, as the policy has it; False to go back to `path`."""
    policy, bad = run.trouble.policy, found[0]
    if policy == "stop":
        raise common(_diverged(bad, path))
    if policy == "skip":
        for bad in found:
            log.write({"step": bad.step + 1, "kind": "skip", "why": bad.why})
            say(f"warning: step {bad.step + 1}: {bad.why}; its update is left out")
        return True
    assert path is not None
    if len(passed) == run.trouble.rewinds:
        raise common(_diverged(bad, path, f"after {len(passed)} rewinds "))
    passed.append(number(bad.step, gone))
    # Under the checkpoint's step, or the line would be dropped as one of the steps that are made again.
    line = {"step": checkpoint.step_of(path), "kind": "rewind", "from": bad.step + 1, "why": bad.why}
    log.write({**line, "rows": passed[-1]})
    say(f"warning: step {bad.step + 1}: {bad.why}; going back to {path}, passing over its rows")
    return False


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
    distributed.put_away(system)
    assert total is not None
    return read(gathered(total))


def _to(batch: Batch, device: torch.device) -> Batch:
    return batch if device.type == "cpu" else batch.map(lambda tensor: tensor.to(device, non_blocking=True))


def _norm(system: Pretraining) -> Tensor:
    return torch.nn.utils.get_total_norm([parameter.detach() for parameter in system.parameters()])


def _diverged(bad: Bad, good: Path | None, when: str = "") -> UserError:
    kept = f"the last good checkpoint is {good}" if good else "no checkpoint was made yet"
    return UserError(
        f"step {bad.step + 1}: {when}{bad.why}; {kept}. Try a lower learning rate, longer warm-up, or --trouble.policy"
    )


def _evaluation(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
