"""Where the tasks run: on this machine, on Slurm, on Ray. (Imports datatrove: slow.)

All three are datatrove's executors with the same steps. A task that is done is not done again.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, final

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import setup_default_logger

from electrain.data.settings import Cluster
from electrain.data.work import LOG, STOP, Resumable
from electrain.errors import reason

SLURM_POLL_SECONDS = 5.0


def run_tasks(
    engine: Literal["local", "slurm", "ray"],
    steps: Sequence[PipelineStep],
    tasks: int,
    workers: int,
    work: Path,
    cluster: Cluster,
) -> None:
    """Run the tasks that are not done yet, and return when all are or one has met bad input (see `work`/errors).

    `workers` at the same time; 0: no limit (Slurm, Ray). `work` has to be seen by all machines. datatrove's messages
    go to a file there. Resumable if tasks fail for another reason.
    """
    errors = work / "errors"
    try:
        with open(work / LOG, "a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
            setup_default_logger()  # writes to what standard error is now
            match engine:
                case "local":
                    executor = LocalExecutor(list(steps), tasks, workers, str(work / "datatrove"))
                    executor.run()
                case "slurm":
                    executor = _run_slurm(steps, tasks, workers, work, cluster)
                case "ray":
                    executor = _run_ray(steps, tasks, workers, work, cluster)
    except Exception:
        if not any(errors.iterdir()):
            raise
        return  # the error file says it better than the wreck of a pool
    finally:
        setup_default_logger()
    missing = executor.get_incomplete_ranks(range(tasks))
    if missing and not any(errors.iterdir()):
        raise Resumable(
            f"{len(missing)} of {tasks} tasks failed on {engine}; the reasons stand in {work / 'datatrove'}. "
            "The same command goes on where it was cut"
        )


@final
class LocalExecutor(LocalPipelineExecutor):
    """datatrove's local executor, with worker processes whose sudden death is noticed.

    One worker works in this process, with as many threads as the tokenizer likes; several have one thread each.
    """

    def run(self) -> None:
        ranks = self.get_incomplete_ranks(range(self.tasks))
        if min(self.workers, len(ranks)) <= 1:
            pipeline = self.pipeline
            for rank in ranks:
                self.pipeline = deepcopy(pipeline)  # each task starts with fresh counters
                self._run_for_rank(rank, local_rank=1)
            self.pipeline = pipeline
            return
        context = get_context("forkserver")
        work = Path(self.logging_dir.path).parent
        with ProcessPoolExecutor(min(self.workers, len(ranks)), context, _start_worker, (str(work / LOG),)) as pool:
            running = [pool.submit(self._run_for_rank, rank, 1) for rank in ranks]
            try:
                for done in as_completed(running):
                    done.result()
            except BrokenProcessPool as error:
                raise Resumable(
                    "a worker process was ended from outside, most often for want of memory; the same command goes on "
                    "where it was cut: give it fewer --workers or a smaller --max-document-bytes"
                ) from error
            except BaseException:
                with contextlib.suppress(OSError):  # a full disk may refuse it: the tasks then end later
                    (work / STOP).touch()
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _start_worker(log: str) -> None:
    """In each worker: one thread, messages to the log, and an end when the parent ends."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores
    with open(log, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker that outlived a killed parent would write into files that the next call writes anew."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run_slurm(
    steps: Sequence[PipelineStep], tasks: int, workers: int, work: Path, cluster: Cluster
) -> PipelineExecutor:
    """Submit the tasks as a job array, unless that of an earlier call is still there, and wait for it."""
    from datatrove.executor.slurm import SlurmPipelineExecutor

    executor = SlurmPipelineExecutor(
        list(steps),
        tasks=tasks,
        time=cluster.time,
        partition=cluster.partition,
        cpus_per_task=cluster.cpus,
        mem_per_cpu_gb=cluster.memory_gb,
        workers=workers or -1,
        job_name="electrain-prepare",
        qos=cluster.qos,
        env_command=cluster.setup or f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        logging_dir=str(work / "datatrove"),
    )
    record = work / "slurm-job"
    job = record.read_text().strip() if record.exists() else ""
    if not job or not _slurm_knows(job):
        try:
            executor.run()
        except subprocess.CalledProcessError as error:
            raise Resumable(f"--engine slurm: sbatch refused the job (exit code {error.returncode})") from error
        job = str(executor.job_id)
        record.write_text(job)
    while executor.get_incomplete_ranks(range(tasks)) and _slurm_knows(job):
        if any((work / "errors").iterdir()):
            break
        time.sleep(SLURM_POLL_SECONDS)
    return executor


def _slurm_knows(job: str) -> bool:
    """Whether the job waits or runs."""
    listed = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and bool(listed.stdout.strip())


def _run_ray(steps: Sequence[PipelineStep], tasks: int, workers: int, work: Path, cluster: Cluster) -> PipelineExecutor:
    """Run the tasks on the Ray cluster that RAY_ADDRESS names, or else on one that Ray starts on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start reports to nobody
    import ray  # pyright: ignore[reportMissingImports]
    from datatrove.executor.ray import RayPipelineExecutor

    found = ray.is_initialized()
    try:
        if not found:
            ray.init(log_to_driver=False, include_dashboard=False)
        _check_ray(ray.nodes(), cluster)
        executor = RayPipelineExecutor(
            list(steps),
            tasks=tasks,
            workers=workers or -1,
            logging_dir=str(work / "datatrove"),
            cpus_per_task=cluster.cpus,
            mem_per_cpu_gb=cluster.memory_gb,
        )
        executor.run()
    except (ConnectionError, ray.exceptions.RaySystemError) as error:
        raise Resumable(f"--engine ray: the cluster cannot be reached: {reason(error)}") from error
    finally:
        if not found:
            ray.shutdown()
    return executor


def _check_ray(nodes: Sequence[dict[str, Any]], cluster: Cluster) -> None:
    """Ray would wait for ever for a machine that is large enough for a task."""
    wanted = cluster.cpus, cluster.cpus * cluster.memory_gb
    sizes = [node["Resources"] for node in nodes if node["Alive"]]
    sizes = [(size.get("CPU", 0), size.get("memory", 0) / 2**30) for size in sizes]
    if not any(cpus >= wanted[0] and memory >= wanted[1] for cpus, memory in sizes):
        cpus, memory = max(sizes, default=(0, 0))
        raise Resumable(
            f"--engine ray: a task asks for {wanted[0]} CPUs and {wanted[1]} GB, and the largest machine of the "
            f"cluster has {cpus:.0f} CPUs and {memory:.1f} GB for tasks; lower --cluster.cpus or --cluster.memory-gb"
        )
