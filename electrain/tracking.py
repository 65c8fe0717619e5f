"""What a run says: metrics.jsonl and its progress always; TensorBoard, W&B and trackio when asked."""

import importlib
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from electrain import progress
from electrain.distributed import first
from electrain.errors import UserError
from electrain.files import write
from electrain.progress import working


def say(text: str) -> None:
    """One line to the person, above the progress bar if there is one; standard output stays for results."""
    if first():
        progress.line(text)


@runtime_checkable
class Tracker(Protocol):
    """Where numbers go beside metrics.jsonl."""

    def log(self, values: dict[str, float], step: int) -> None: ...
    def close(self) -> None: ...


class Log:
    """metrics.jsonl: a line a window of steps, {"step", "kind": "train" | "eval", metrics...}; or another such file.

    A metric of which nothing was counted is null. Opening it for a run that goes on at `step` drops the lines after
    that step: those steps are made again. Of several processes, the first writes.
    """

    def __init__(self, out: Path, step: int, name: str = "metrics.jsonl"):
        self.path = out / name
        self._file = None
        if not first():
            return
        kept = [line for line in self._lines() if line["step"] <= step]
        write(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = self.path.open("ab", buffering=0)  # a line that the disk refused must not come again at the end

    def _lines(self) -> list[dict[str, Any]]:
        """The whole lines. The last may be cut, of a process that was killed while it wrote; others are named."""
        if not self.path.exists():
            return []
        lines = []
        texts = self.path.read_text(errors="replace").splitlines()
        for number, text in enumerate(texts, start=1):
            try:
                line = json.loads(text)
                int(line["step"])
                lines.append(line)
            except (ValueError, TypeError, KeyError, RecursionError):
                if number < len(texts):
                    say(f"warning: {self.path}, line {number}: damaged, and left out")
        return lines

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. UserError if the disk will not take it."""
        numbers = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in line.items()}  # JSON has no NaN
        try:
            if self._file is not None:
                self._file.write((json.dumps(numbers) + "\n").encode())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); free some space and go on") from error

    def close(self) -> None:
        """Flush to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


class Clock:
    """Throughput of the windows between log lines; evaluations, checkpoints and compiling are not counted.

    waited: seconds that training has waited for data, so far
    """

    def __init__(self, tokens: int, waited: Callable[[], float]):
        self.waiting, self.tokens = waited, tokens
        self.began, self.waited = working(), waited()

    def window(self, tokens: int) -> dict[str, float]:
        """Tokens a second since the last call, and the share of the time that was spent waiting for data.

        tokens: of all steps so far, those before a restart too
        """
        seconds = working() - self.began
        timing = {
            "tokens_per_second": (tokens - self.tokens) / seconds,
            "data_wait": (self.waiting() - self.waited) / seconds,
        }
        self.began, self.tokens, self.waited = working(), tokens, self.waiting()
        return timing

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not training's."""
        pause = working()
        yield
        self.began += working() - pause


_SHORT = {
    "loss": "loss {:.3f}",
    "tokens_per_second": "{:,.0f} tok/s",
    "examples_per_second": "{:,.0f} examples/s",
    "mlm_loss": "mlm {:.2f}",
    "mlm_accuracy": "acc {:.1%}",
    "rtd_loss": "rtd {:.3f}",
    "replaced": "replaced {:.1%}",
    "rtd_auc": "auc {:.3f}",
    "lr": "lr {:.1e}",
}


def describe(values: dict[str, float]) -> str:
    """The numbers a person watches, on one line."""
    return "  ".join(form.format(values[name]) for name, form in _SHORT.items() if name in values)


class _TensorBoard:
    def __init__(self, module: Any, out: Path, config: dict[str, Any]):
        self.writer = module.SummaryWriter(str(out / "tensorboard"))
        self.writer.add_text("run", f"```\n{json.dumps(config, indent=2)}\n```")

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _Service:
    """W&B and trackio: one interface, two modules."""

    def __init__(self, module: Any, out: Path, config: dict[str, Any], **where: str):
        self.run = module.init(project="electrain", name=out.name, config=config, **where)
        self.module = module

    def log(self, values: dict[str, float], step: int) -> None:
        self.module.log(values, step=step)

    def close(self) -> None:
        self.module.finish()


def trackers(names: tuple[str, ...], out: Path, config: dict[str, Any]) -> list[Tracker]:
    """The trackers of these names. UserError if one is not installed."""
    made: list[Tracker] = []
    for name in names:
        if name == "tensorboard":
            made.append(_TensorBoard(_library(name), out, config))
        else:
            made.append(_Service(_library(name), out, config, **({"dir": str(out)} if name == "wandb" else {})))
    return made


def installed(names: tuple[str, ...]) -> None:
    """UserError if one of these trackers is not. Nothing is written."""
    for name in names:
        _library(name)


def _library(name: str) -> Any:
    """What a tracker writes with. UserError if it is not installed."""
    try:
        return importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError as error:
        raise UserError(f"--track {name}: {error.name} is not installed; pip install 'electrain[track]'") from error
