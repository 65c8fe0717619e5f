"""The files under deploy/ are ones that bash, Kubernetes, SkyPilot, torchrun and our own command line take."""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from electrain.chosen import choose
from electrain.options import Pretrain

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
SLURM, KUBERNETES, SKYPILOT = (DEPLOY / name for name in ("slurm.sbatch", "kubernetes.yaml", "skypilot.yaml"))
# Stand-ins: srun runs the command once and passes SIGTERM on, torchrun works until it is asked to stop, and saves. They
# are ready for the signal before they say that they are there.
PROGRAMS = {
    "srun": "while [[ $1 == --* ]]; do shift; done\ntrap 'kill -TERM $child; wait $child' TERM\n\"$@\" & child=$!\n"
    "wait $child",
    "torchrun": 'trap \'sleep 0.3; echo saved >> "$TOLD"; exit 143\' TERM\necho "torchrun $*" >> "$TOLD"\n'
    'if [ -n "$WORK" ]; then while true; do sleep 0.05; done; fi',
    "scontrol": 'if [ "$1" = show ]; then echo "n1"; echo "n2"; else echo "scontrol $*" >> "$TOLD"; fi',
}


def accepted(words: list[str]) -> tuple[Any, Any]:
    """What torchrun and `electrain pretrain` make of a command; either ends the test if it does not understand."""
    assert words[0].endswith("torchrun")
    torchrun = get_args_parser().parse_args(words[1:])
    assert torchrun.module and torchrun.training_script == "electrain"
    verb, *rest = torchrun.training_script_args
    assert verb == "pretrain"
    return torchrun, choose(Pretrain, rest, verb)


def command(script: str, **variables: str) -> list[str]:
    """The torchrun command in a shell script, its variables filled in."""
    joined = script.replace("\\\n", " ")
    line = next(line for line in joined.splitlines() if "torchrun" in line and not line.lstrip().startswith("#"))
    words = [re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], word) for word in shlex.split(line)]
    start = next(number for number, word in enumerate(words) if word.endswith("torchrun"))
    return words[start:]


@pytest.mark.parametrize("path", [SLURM, KUBERNETES, SKYPILOT], ids=lambda path: path.name)
def test_its_head_says_what_to_change(path: Path) -> None:
    head = [line for line in path.read_text().splitlines()[:12] if line.startswith("#")]
    assert any("Change:" in line for line in head)


def start(folder: Path, work: str) -> subprocess.Popen[str]:
    for name, program in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/bash\n{program}\n")
        (folder / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TOLD": str(folder / "told"),
        "WORK": work,
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": "64",
    }
    return subprocess.Popen(["bash", SLURM], env=environment, stderr=subprocess.PIPE, text=True)


def test_slurm_gives_a_command_that_is_understood(tmp_path: Path) -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    _, said = (running := start(tmp_path, "")).communicate(timeout=60)
    assert running.returncode == 0, said
    (line,) = (tmp_path / "told").read_text().splitlines()  # and no requeue
    torchrun, chosen = accepted(shlex.split(line))
    assert (torchrun.nnodes, torchrun.nproc_per_node, torchrun.max_restarts) == ("2", "8", 3)
    assert (torchrun.rdzv_backend, torchrun.rdzv_endpoint, torchrun.rdzv_id) == ("c10d", "n1:29500", "77")
    assert chosen.run.plain.batch == 256 and chosen.out.is_absolute()


def test_slurm_lets_the_run_save_and_puts_the_job_back(tmp_path: Path) -> None:
    running = start(tmp_path, "yes")
    told = tmp_path / "told"
    while not told.exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert told.read_text().splitlines()[1:] == ["saved", "scontrol requeue 77"], said
    assert running.returncode == 143


def test_slurm_asks_in_time() -> None:
    fields = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SLURM.read_text(), re.MULTILINE))
    assert fields["signal"] == "B:TERM@300" and "requeue" in fields and fields["open-mode"] == "append"
    assert fields["ntasks-per-node"] == "1" and fields["gpus-per-node"] == "8"


def test_kubernetes() -> None:
    service, job = yaml.safe_load_all(KUBERNETES.read_text())
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"] and pod["restartPolicy"] == "Never"  # the policy needs Never
    (container,) = pod["containers"]
    torchrun, chosen = accepted(container["command"])
    assert torchrun.nnodes == str(spec["completions"])
    port = service["spec"]["ports"][0]["port"]
    assert torchrun.rdzv_endpoint == f"{job['metadata']['name']}-0.{pod['subdomain']}:{port}"
    gpus = {container["resources"][kind]["nvidia.com/gpu"] for kind in ("requests", "limits")}
    assert gpus == {int(torchrun.nproc_per_node)}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]} and mounts["shm"] == "/dev/shm"
    for path in (chosen.data, chosen.out):
        assert path.is_relative_to(mounts["shared"])


def test_skypilot() -> None:
    task = yaml.safe_load(SKYPILOT.read_text())
    assert task["num_nodes"] > 1 and re.fullmatch(r"\w+:\d+", task["resources"]["accelerators"])
    for name in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[name], text=True, check=True)
    torchrun, chosen = accepted(
        command(task["run"], first="10.0.0.1", SKYPILOT_NUM_NODES="2", SKYPILOT_NUM_GPUS_PER_NODE="8")
    )
    assert (torchrun.nnodes, torchrun.nproc_per_node) == ("2", "8")
    assert torchrun.rdzv_endpoint == "10.0.0.1:29500"
    (mount,) = task["file_mounts"]
    for path in (chosen.data, chosen.out):
        assert path.is_relative_to(mount)
