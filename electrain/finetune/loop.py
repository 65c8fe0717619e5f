"""One fine-tuning, read top to bottom; and what the network then says of other rows."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from electrain import checkpoint
from electrain.compute import casting, compiled
from electrain.encoders.base import Encoder
from electrain.errors import Stopped, UserError
from electrain.finetune.batches import Batches, Padded
from electrain.finetune.model import Tuned, copied
from electrain.finetune.settings import Finetune
from electrain.finetune.task import Predictions, Row, Task
from electrain.progress import Bar
from electrain.signals import collected
from electrain.tracking import describe, say
from electrain.vocab import Vocab

WORTH = 300  # steps from which on compiling pays
EVERY = 50  # steps between looks at the loss
READ = 16384  # tokens of a batch in evaluation


class Fitted(NamedTuple):
    """A fine-tuned network, the mean training loss of its last steps (50 at most), and its speed."""

    model: Tuned
    loss: float
    steps: int
    examples_per_second: float


def fit(task: Task, encoder: Encoder, vocab: Vocab, how: Finetune, seed: int, folder: Path) -> Fitted:
    """Fine-tune a copy of `encoder` on the task's training rows, or go on with what `folder` holds.

    Fresh weights of the head, order of the rows and dropout are functions of the seed. Stopped after SIGTERM or Ctrl-C,
    with everything saved; UserError for a loss that is not finite.
    """
    device = how.compute.start()
    dtype = how.compute.precision(device)
    rows = task.rows("train")
    torch.manual_seed(seed)  # of the fresh head; nothing after this draws from it
    inner = copied(encoder, vocab, how.dropout)
    model = Tuned(inner, task.head(inner, how.dropout)).to(device)
    epochs = task.epochs if how.epochs is None else how.epochs
    steps = max(1, round(epochs * len(Batches(rows, vocab, how.batch, None))))
    worth = how.compute.compile and steps >= WORTH
    deal = Batches(rows, vocab, how.batch, model.head.ignore, even=worth)
    optim = how.optim(encoder.width, steps)
    optimizer = optim.build(model)

    first, sum_so_far = 0, 0.0
    if (newest := checkpoint.latest(folder, say)) is not None:
        state = checkpoint.load(newest, model, optimizer)
        first, sum_so_far = state["step"], state["window"]
        say(f"going on from {newest}")
    checkpoint.sweep(folder, first)
    order = deal.epoch(seed, first // len(deal))
    call = compiled_step(model, _to(deal.take(order[0], seed, 0), device), dtype) if worth else model
    window = torch.full((), sum_so_far, device=device)
    began = saved = time.monotonic()
    seen, losses = 0, []
    bar = Bar(steps, first, what=f"seed {seed}, step")
    with collected() as asked:
        try:
            for step in range(first, steps):
                epoch, number = divmod(step, len(deal))
                if number == 0:
                    order = deal.epoch(seed, epoch)
                padded = _to(deal.take(order[number], seed, step), device)
                optim.set_rate(optimizer, step, steps)
                with casting(device, dtype):
                    loss = call(*padded)
                loss.backward()
                optim.clip_gradients(model)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                window += loss.detach()
                seen += len(order[number])
                done = step + 1
                if done % EVERY == 0 or done == steps:
                    losses.append((window / (done % EVERY or EVERY)).item())
                    window.zero_()
                    if not math.isfinite(losses[-1]):
                        raise UserError(f"finetune: the loss is not finite at step {done}; try a lower --lr")
                    rate = {} if bar.pace.rate is None else {"examples_per_second": bar.pace.rate * how.batch}
                    bar.update(done, describe({"loss": losses[-1], **rate}))
                else:
                    bar.update(done, None)
                late = time.monotonic() - saved > 60 * how.save_minutes
                if (late or asked) and done < steps:
                    path = checkpoint.save(folder, done, model, optimizer, {"window": window.item()})
                    checkpoint.prune(folder, 1, None)
                    saved = time.monotonic()
                    if asked:
                        say(f"stopped at step {done} of {steps}, saved in {path}; the same command goes on from there")
                        raise Stopped(asked[0])
        finally:
            bar.close()
    speed = seen / (time.monotonic() - began)
    return Fitted(model, losses[-1] if losses else math.nan, steps, speed)


def predict(model: Tuned, rows: Sequence[Row], vocab: Vocab, how: Finetune) -> Predictions:
    """What the head says of every row, in their order, as NumPy arrays."""
    device = next(model.parameters()).device
    dtype = how.compute.precision(device)
    deal = Batches(rows, vocab, how.batch, model.head.ignore)
    said: list[tuple] = [()] * len(rows)
    model.eval()
    with torch.inference_mode(), casting(device, dtype):
        for numbers in deal.in_order(READ):
            out = model.predict(_to(deal.take(numbers, 0, 0), device).batch)
            parts = [
                tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy() for tensor in out
            ]
            for at, number in enumerate(numbers):
                said[number] = tuple(part[at] for part in parts)
    model.train()
    return said


def compiled_step(model: Tuned, padded: Padded, dtype: torch.dtype) -> Callable[..., Tensor]:
    """The step compiled once for rows of any length; where that fails, one line says why and it runs as it is."""
    for tensor in (*padded.batch[:4], *([] if model.head.ignore is None else [padded.target])):
        torch._dynamo.mark_dynamic(tensor, 1)
    with casting(padded.weight.device, dtype):
        call = compiled(model, lambda call: call(*padded).backward(), say)
    model.zero_grad(set_to_none=True)
    return model if call is None else call


def _to(padded: Padded, device: torch.device) -> Padded:
    if device.type == "cpu":
        return padded
    move = lambda tensor: tensor.to(device, non_blocking=True)  # noqa: E731
    return Padded(padded.batch.map(move), move(padded.target), move(padded.weight))
