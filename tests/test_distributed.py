"""A run on several processes is the run on one: rows, places, samples, losses; stopped and gone on with on others."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from electrain import checkpoint, sharded
from electrain.hub.average import load_mean
from electrain.hub.export import checkpoint_of
from electrain.run import Record
from tests.processes import ROOT, Job, finish, start
from tests.systems.kit import all_cases
from tests.training import VOCAB, last, make_data, metrics, weights

# The ways in which a system could notice that its batch is shared out: a generator, a cache, exits that follow the
# accuracy, a table that is read outside of the step, losses over places of several kinds, updates of whole matrices.
TELLING = ["electra", "cached", "early_exit_log_space", "nearest", "electric", "modern"]
ROUNDING = 2e-5  # of a loss, after 50 steps; it was 3e-7
SHARED = {"steps": 8, "evaluate": 4, "batch": 16, "accumulate": 2, "packing": "pairs"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("processes") / "data")


def trained(job: Job, ranks: int, codes: set[int] | None = None) -> str:
    """Run a job; returns what its processes said."""
    left = finish(start(job, ranks))
    said = "\n".join(text for _, text in left)
    assert {code for code, _ in left} == (codes or {0}), said
    return said


def assert_same_curve(one: Path, other: Path, rounding: float = ROUNDING) -> None:
    """Every number of metrics.jsonl, to rounding; what is counted, exactly."""
    a, b = metrics(one), metrics(other)
    assert [(line["step"], line["kind"]) for line in a] == [(line["step"], line["kind"]) for line in b]
    for mine, theirs in zip(a, b, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=rounding), mine["step"]
        assert mine.get("replaced") == theirs.get("replaced")  # the same places and the same samples, all of them
        assert mine.keys() == theirs.keys()
        # Views that are all alike (a loss of log 7): which of them is the nearest hangs on rounding.
        for name in mine.keys() - {"kind", "contrast_accuracy"}:
            loose = 1e-2 if name.endswith("auc") else 1e-3  # two scores a rounding apart may change places
            near = theirs[name] if theirs[name] is None else pytest.approx(theirs[name], rel=100 * rounding, abs=loose)
            assert mine[name] == near, name


def model_of(out: Path) -> dict[str, Tensor]:
    """The weights of a run's last checkpoint, read on one process."""
    system = Record.load(out).run.system.build(VOCAB)
    checkpoint.load_weights(system, last(out))
    return checkpoint.weights(system)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The telling cases on one process: padded rows, micro-batches, and a batch that three processes share badly."""
    out = tmp_path_factory.mktemp("alone")
    trained(Job(str(data), str(out), TELLING, **SHARED), 1)
    return out


@pytest.mark.parametrize(("ranks", "kind"), [(2, "fsdp"), (3, "ddp")])
def test_the_same_run(ranks: int, kind: Any, data: Path, alone: Path, tmp_path: Path) -> None:
    trained(Job(str(data), str(tmp_path), TELLING, kind, **SHARED), ranks)
    for name in TELLING:
        assert_same_curve(alone / name, tmp_path / name)
        ours, theirs = model_of(alone / name), model_of(tmp_path / name)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-4, msg=f"{name}: {key}")


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "kind"), [(2, "ddp"), (2, "fsdp"), (4, "ddp"), (4, "fsdp")])
def test_every_system_is_the_same_run(ranks: int, kind: Any, data: Path, tmp_path: Path) -> None:
    cases = [*all_cases()]
    groups = {name: 16 if name == "coco" else 8 for name in cases}  # four processes with a group of four rows each
    for batch in sorted(set(groups.values())):
        some = [name for name in cases if groups[name] == batch]
        for out, count in ((tmp_path / "one", 1), (tmp_path / "many", ranks)):
            trained(Job(str(data), str(out), some, kind, batch=batch), count)
    for name in cases:
        assert_same_curve(tmp_path / "one" / name, tmp_path / "many" / name)


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_stopped_on_four_and_gone_on_with_on_three_and_on_one(kind: Any, data: Path, tmp_path: Path) -> None:
    """The signal reaches one process alone; all of them stop after the same step."""
    job = Job(str(data), str(tmp_path / "run"), ["electra"], kind, steps=24, batch=12)
    trained(replace(job, out=str(tmp_path / "whole")), 1)
    trained(replace(job, strike=(2, 3, "SIGTERM")), 4, {128 + signal.SIGTERM})
    stopped = last(tmp_path / "run" / "electra")
    assert stopped.name == "step-000008"  # they ask each other every eighth step
    parts = (stopped / "parts").is_dir()
    assert parts == (kind == "fsdp") and not list(stopped.rglob("*.bin")) and not list(stopped.rglob("*.distcp"))
    trained(replace(job, strike=(1, 3, "SIGTERM")), 3, {128 + signal.SIGTERM})
    assert last(tmp_path / "run" / "electra").name == "step-000016"
    trained(job, 1)
    assert_same_curve(tmp_path / "whole" / "electra", tmp_path / "run" / "electra")
    assert checkpoint_of(tmp_path / "run" / "electra", "latest", print).name == "step-000024"


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_three_that_go_on_make_the_same_sums(kind: Any, data: Path, tmp_path: Path) -> None:
    """Of three numbers it matters which two are added first, and DDP decides that by what lies where in its buckets."""
    job = Job(str(data), str(tmp_path / "whole"), ["electra"], kind, steps=16, batch=12, accumulate=2, log=7)
    trained(job, 3)
    cut = replace(job, out=str(tmp_path / "cut"))
    trained(replace(cut, strike=(0, 3, "SIGTERM")), 3, {128 + signal.SIGTERM})
    trained(cut, 3)
    whole, other = (model_of(tmp_path / name / "electra") for name in ("whole", "cut"))
    assert [key for key in whole if not torch.equal(whole[key], other[key])] == []
    assert metrics(tmp_path / "whole" / "electra") == metrics(tmp_path / "cut" / "electra")


def test_parts_are_checked_like_everything_else(data: Path, tmp_path: Path) -> None:
    job = Job(str(data), str(tmp_path), ["electra"], "fsdp", steps=12)
    trained(job, 2)
    out = tmp_path / "electra"
    several = checkpoint.listed(out)
    system = Record.load(out).run.system.build(VOCAB)
    load_mean(system, several)  # and parts of several checkpoints make one mean
    one, other = (torch.empty_like(system.encoder.tokens.weight) for _ in several)
    for into, path in zip((one, other), several, strict=True):
        sharded.read(path / "parts", {"encoder.embeddings.tokens.weight": into}, None)
    torch.testing.assert_close(system.encoder.tokens.weight.detach(), (one + other) / 2, rtol=0, atol=1e-8)
    assert not torch.equal(one, other)
    file = sorted((last(out) / "parts").glob("*.safetensors"))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    assert f"parts/{file.name} does not match its checksum" in trained(job, 1)
    assert weights(last(out))  # whole again, in one file, made on one process


@pytest.mark.slow
def test_bfloat16_policy(data: Path, tmp_path: Path) -> None:
    """Weights sent in bfloat16: near the run in float32, as near as eight bits are."""
    for gather in ("float32", "bfloat16"):
        trained(Job(str(data), str(tmp_path / gather), ["electra"], "fsdp", steps=20, gather=gather), 2)
    ours, theirs = (metrics(tmp_path / gather / "electra") for gather in ("float32", "bfloat16"))
    losses = [[line["loss"] for line in lines if line["kind"] == "train"] for lines in (ours, theirs)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_compiled(kind: Any, data: Path, alone: Path, tmp_path: Path) -> None:
    cases = ["electra", "early_exit_log_space"]
    job = Job(str(data), str(tmp_path), cases, kind, **SHARED, compile=True)
    assert "not compiled" not in trained(job, 2)
    for name in cases:
        assert_same_curve(alone / name, tmp_path / name)


def test_bad_input_is_said_once(data: Path, tmp_path: Path) -> None:
    said = trained(Job(str(tmp_path / "none"), str(tmp_path / "out"), ["electra"]), 2, {2})
    assert said.count("said: ") == 1 and "manifest.json" in said
    said = trained(Job(str(data), str(tmp_path / "out"), ["electra"], batch=8, accumulate=8), 2, {2})
    assert said.count("said: ") == 1 and "a micro-batch of 1 row(s) cannot be split over 2 processes" in said
    assert not (tmp_path / "out" / "electra").exists()


def test_a_process_that_falls_silent_is_named(data: Path, tmp_path: Path) -> None:
    job = Job(str(data), str(tmp_path), ["electra"], steps=14, timeout=0.1)
    running = start(replace(job, strike=(1, 10, "SIGSTOP")), 2)
    _, said = running[0].communicate(timeout=120)
    running[1].send_signal(signal.SIGKILL)
    running[1].communicate()
    assert running[0].returncode == 2
    assert "said: parallel: process 1 does not answer (" in said
    assert last(tmp_path / "electra").name == "step-000010"
    trained(job, 1)


def torchrun(*command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Two processes, started as the documentation says."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *options, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_torchrun(data: Path, tmp_path: Path) -> None:
    run = ("-m", "electrain", "pretrain", "electra_tiny", "--data", str(data), "--out", str(tmp_path / "run"))
    sizes = ("--steps", "6", "--batch", "4", "--length", "16", "--log-every", "1")
    done = torchrun(*run, *sizes, "--compute.compile", "False", "--compute.device", "cpu")
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6]
    assert done.stderr.count("step 6  held out") == 1


@pytest.mark.slow
def test_a_killed_process_is_started_again(data: Path, tmp_path: Path) -> None:
    job = Job(str(data), str(tmp_path / "whole"), ["electra"], steps=40)
    trained(job, 2)
    struck = replace(job, out=str(tmp_path / "struck"), strike=(1, 27, "SIGKILL"), once=str(tmp_path / "killed"))
    (tmp_path / "job.json").write_text(json.dumps(vars(struck)))
    done = torchrun("-m", "tests.processes", str(tmp_path / "job.json"), options=("--max-restarts", "1"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists() and "going on from" in done.stderr
    assert_same_curve(tmp_path / "whole" / "electra", tmp_path / "struck" / "electra")
    ours, theirs = (model_of(tmp_path / name / "electra") for name in ("whole", "struck"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)  # the same processes: bit for bit


@pytest.mark.slow
def test_a_machine_joins_a_run_in_progress(data: Path, tmp_path: Path) -> None:
    """Two agents of torchrun, the second a while after the first: the processes start again, and the run goes on."""
    run = ["-m", "electrain", "pretrain", "electra_tiny", "--data", str(data), "--out", str(tmp_path / "run")]
    run += shlex.split(
        "--steps 900 --batch 12 --length 16 --log-every 50 --eval-every 900 --compute.compile False "
        "--compute.device cpu --system.encoder.hidden 64 --system.encoder.ffn 64 --system.encoder.embedding 64 "
        "--system.encoder.attention-start normal"
    )
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    agent = shlex.split(f"--nnodes 1:2 --rdzv-backend c10d --rdzv-endpoint localhost:{port} --max-restarts 1")
    agent += ["--rdzv-conf", "last_call_timeout=1"]  # seconds in which others are waited for where one would do
    command = [sys.executable, "-m", "torch.distributed.run", *agent, "--nproc-per-node", "1", *run]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Without it an agent that comes later waits for an address that the first one wrote down in a round before.
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    log = tmp_path / "run" / "metrics.jsonl"
    with (tmp_path / "first.log").open("w") as said:
        first = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=said, stderr=said)
        while first.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.1)
        second = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert first.wait(60) == 0, (tmp_path / "first.log").read_text()
    assert second.returncode == 0, second.stderr
    told = (tmp_path / "first.log").read_text()
    assert "stopped at step" in told and "going on from" in told
    steps = [line["step"] for line in metrics(tmp_path / "run") if "lr" in line]
    assert steps == list(range(50, 901, 50))  # each window once
    assert last(tmp_path / "run").name == "step-000900"
