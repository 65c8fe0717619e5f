"""Runs on several processes of one machine, for the tests: every system's case in one start.

python -m tests.processes JOB.json      in each process, with torchrun's variables set (see `start`)
"""

import json
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from electrain import train
from electrain.data.examples import Full, Packing, Pairs
from electrain.distributed import Parallel, rank, together
from electrain.errors import Elsewhere, Stopped, UserError
from electrain.optim.adam import Adam
from electrain.run import Run
from tests.forked import Forked, variables
from tests.systems.kit import World, all_cases, run_of
from tests.training import at_step, strike

ROOT = Path(__file__).resolve().parent.parent
PACKINGS: dict[str, Packing.Config] = {"full": Full.Config(), "pairs": Pairs.Config()}


@dataclass(frozen=True)
class Job:
    """What each process is to do: every named case's run, in OUT/NAME."""

    data: str
    out: str
    cases: list[str]
    kind: Literal["ddp", "fsdp"] = "ddp"
    steps: int = 50
    batch: int = 8
    accumulate: int = 1
    log: int = 1
    evaluate: int = 25
    packing: str = "full"
    compile: bool = False
    gather: Literal["float32", "bfloat16"] = "float32"
    timeout: float = 2.0
    strike: tuple[int, int, str] | None = None  # a signal that a process sends to itself: its rank, the step, the name
    once: str = ""  # a file that says that it has been sent


def run_for(job: Job, name: str) -> Run:
    """A case's run, its checkpoints far apart."""
    more: dict[str, Any] = {"log_every": job.log, "save_every": 10, "eval_every": job.evaluate, "batch": job.batch}
    run = run_of(all_cases()[name], job.steps, accumulate=job.accumulate, packing=PACKINGS[job.packing], **more)
    parallel = Parallel(job.kind, gather=job.gather, timeout=job.timeout)
    return replace(run, parallel=parallel, compute=replace(run.compute, compile=job.compile))


def start(job: Job, ranks: int) -> list[Forked]:
    """The processes of a job, begun; with one, without torchrun's variables."""
    file = Path(job.out).with_suffix(f".{ranks}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(vars(job)))
    return [
        Forked(main, str(file), log=file.with_suffix(f".{number}.log"), environment=where)
        for number, where in enumerate(variables(ranks))
    ]


def finish(processes: list[Forked], seconds: float = 900) -> list[tuple[int, str]]:
    """How each process left, and what it said."""
    return [(process.returncode, said) for process in processes for said in [process.communicate(timeout=seconds)[1]]]


def main(file: str) -> int:
    job = Job(**json.loads(Path(file).read_text()))
    torch.set_num_threads(1)
    train.Folders = lambda *_: World()  # pyright: ignore
    if job.strike is not None and job.strike[0] == rank() and not (job.once and Path(job.once).exists()):
        if job.once:
            Path(job.once).touch()
        Adam.set_rate = at_step(job.strike[1], strike(signal.Signals[job.strike[2]]))  # pyright: ignore
    try:
        with together(Parallel(timeout=job.timeout), cuda=False):
            for name in job.cases:
                train.pretrain(run_for(job, name), Path(job.data), Path(job.out) / name)
    except Stopped as stopped:
        return 128 + stopped.number
    except UserError as error:
        print(f"said: {error}", file=sys.stderr)
        return 2
    except Elsewhere:
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
