import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from electrain.data import engines, pieces
from electrain.data.prepare import Cluster, Prepare, prepare
from electrain.data.tokenizer import train_tokenizer
from electrain.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = [f"the fox number {i} walks past the dog number {i * 7 % 13}" for i in range(100)]

# Stand-ins for Slurm's programs: sbatch runs the tasks of the array at once, one after the other.
SBATCH = """#!/bin/bash
for script; do true; done
cp "$script" "$SLURM_STAND_IN/script.$(ls "$SLURM_STAND_IN" | wc -l)"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for task in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=77 SLURM_NODELIST=here bash "$script" >> "$SLURM_STAND_IN/log" 2>&1
done
echo "Submitted batch job 77"
"""
PROGRAMS = {
    "sbatch": SBATCH,
    "srun": '#!/bin/bash\nwhile [ "$1" != launch_pickled_pipeline ]; do shift; done\nexec "$@"\n',
    "scontrol": "#!/bin/bash\necho here\n",
    "squeue": "#!/bin/bash\nexit 0\n",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    monkeypatch.setattr(pieces, "SMALLEST_TASK", 2000)
    (tmp_path / "x.txt").write_text("\n\n".join(TEXTS))
    train_tokenizer(TEXTS, size=300, min_frequency=1).save_pretrained(tmp_path / "tokenizer")
    return Prepare(
        (str(tmp_path / "x.txt"),),
        tmp_path / "data",
        documents="blank-lines",
        tokenizer=str(tmp_path / "tokenizer"),
        validation=0.1,
        workers=1,
    )


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins on PATH; returns the folder with the scripts that were submitted."""
    for name, program in PROGRAMS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(program)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "submitted").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STAND_IN", str(tmp_path / "submitted"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(engines, "SLURM_POLL_SECONDS", 0.05)
    return tmp_path / "submitted"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_slurm_writes_what_this_machine_writes(settings: Prepare, slurm: Path) -> None:
    here = prepare(settings)
    cluster = Cluster(partition="long", time="01:30:00", memory_gb=3)
    there = replace(settings, engine="slurm", cluster=cluster, workers=5, out=settings.out.with_name("slurm"))
    assert prepare(there) == here and len(here.train) > 1
    assert contents(there.out) == contents(settings.out)
    for submitted in slurm.glob("script.*"):
        subprocess.run(["bash", "-n", submitted], check=True)
    script = (slurm / "script.0").read_text()
    for line in ("partition=long", "time=01:30:00", "mem-per-cpu=3G", f"array=0-{len(here.train) - 1}%5"):
        assert f"#SBATCH --{line}\n" in script
    assert f"export PATH={Path(sys.executable).parent}:$PATH" in script and "launch_pickled_pipeline" in script


@pytest.mark.slow
def test_bad_input_on_slurm_is_one_line_here(settings: Prepare, slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"good\n\nb\xffd")
    there = replace(settings, engine="slurm", cluster=Cluster(partition="long"))
    with pytest.raises(UserError, match=r"x.txt: invalid UTF-8 at byte 7 \(0xff\)"):
        prepare(there)
    assert not there.out.exists()


def test_a_slurm_job_that_dies_keeps_the_work(settings: Prepare, slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "bin/srun").write_text("#!/bin/bash\nexit 1\n")
    there = replace(settings, engine="slurm", cluster=Cluster(partition="long"))
    with pytest.raises(UserError, match=r"tasks failed on slurm; the reasons stand in .*goes on where it was cut"):
        prepare(there)
    assert (there.out / ".work").exists() and not (there.out / "manifest.json").exists()
    assert prepare(settings).summary["documents"] == len(TEXTS)  # on this machine, in the same folder


def test_an_engine_that_is_not_there_is_named(settings: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'Ray is not installed; install it with: pip install "electrain\[ray\]"'):
        prepare(replace(settings, engine="ray"))
    with pytest.raises(UserError, match="sbatch is not found"):
        prepare(replace(settings, engine="slurm", cluster=Cluster(partition="long")))
    assert not settings.out.exists()


def test_an_engine_that_is_not_there_costs_no_work(settings: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done on this machine outlives a call that names an engine in vain."""
    monkeypatch.setattr(engines, "run_tasks", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(settings)
    before = contents(settings.out)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="sbatch is not found"):
        prepare(replace(settings, engine="slurm", cluster=Cluster(partition="long")))
    assert contents(settings.out) == before and before


@pytest.mark.parametrize("name", ["cpus", "memory_gb"])
def test_a_task_needs_something(name: str, settings: Prepare) -> None:
    with pytest.raises(UserError, match=f"--cluster.{name.replace('_', '-')} 0: must be at least 1"):
        prepare(replace(settings, cluster=Cluster(**{name: 0})))


def test_a_cluster_without_a_large_enough_machine_is_refused() -> None:
    """The sizes must be of one machine, and of one that lives."""
    nodes = [
        {"Alive": True, "Resources": {"CPU": 64.0, "memory": 8.0 * 2**30}},
        {"Alive": True, "Resources": {"CPU": 2.0, "memory": 16.0 * 2**30}},
        {"Alive": False, "Resources": {"CPU": 64.0, "memory": 512.0 * 2**30}},
    ]
    engines._check_ray(nodes, Cluster(cpus=2, memory_gb=8))
    with pytest.raises(UserError, match=r"asks for 4 CPUs and 16 GB, .* has 64 CPUs and 8.0 GB.*--cluster.memory-gb"):
        engines._check_ray(nodes, Cluster(cpus=4, memory_gb=4))


@pytest.mark.ray
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='Ray is not installed: pip install "electrain[ray]"'
)
def test_ray_writes_what_this_machine_writes(
    settings: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a local cluster: the same bytes, and bad input in the same one line."""
    import ray  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # Ray's workers inherit it
    monkeypatch.setattr(pieces, "SMALLEST_TASK", 2500)  # two tasks: it is their start that takes time
    here = prepare(settings)
    cluster = Cluster(memory_gb=1)
    there = replace(settings, engine="ray", workers=2, cluster=cluster, out=settings.out.with_name("ray"))
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    try:
        assert prepare(there) == here and len(here.train) > 1
        assert contents(there.out) == contents(settings.out)
        (tmp_path / "x.txt").write_bytes(b"good\n\nb\xffd")
        with pytest.raises(UserError, match=r"x.txt: invalid UTF-8 at byte 7 \(0xff\)"):
            prepare(replace(there, out=tmp_path / "bad"))
        assert not (tmp_path / "bad").exists() and ray.is_initialized()  # it was not ours to end
    finally:
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='Ray is not installed: pip install "electrain[ray]"'
)
def test_the_command_line_starts_a_ray_of_its_own(settings: Prepare) -> None:
    """One task, for the command line cuts no smaller ones: the same tokens in one file."""
    prepare(settings)
    out = settings.out.with_name("ray")
    words = ["prepare", "--corpus", *settings.corpus, "--out", out, "--documents", "blank-lines", "--validation", 0.1]
    words += ["--tokenizer", settings.tokenizer, "--engine", "ray", "--cluster.memory-gb", 1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "electrain", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    made = {name: content for name, content in contents(out).items() if name.startswith("tokenizer")}
    assert made == {name: content for name, content in contents(settings.out).items() if name.startswith("tokenizer")}
    assert tokens(out) == tokens(settings.out)


def tokens(folder: Path) -> bytes:
    """The token files of the training part, one after the other, however many there are."""
    return b"".join(path.read_bytes() for path in sorted((folder / "train").glob("*.ds")))


SCRIPT = """
import os, signal, sys
from pathlib import Path
from electrain.data import pieces, pipeline
from electrain.data.prepare import Prepare, prepare

pieces.SMALLEST_TASK = 2000
if __name__ != "__main__":  # in a worker

    def die(self, raw, doc_ends=None):
        Path(sys.argv[4]).touch()
        {action}

    pipeline.TokenizedFile.write_bytes = die

if __name__ == "__main__":
    try:
        prepare(Prepare((sys.argv[1],), Path(sys.argv[2]), documents="blank-lines", tokenizer=sys.argv[3], workers=2))
    except Exception as error:
        sys.exit(f"{{type(error).__name__}}: {{error}}")
"""


def start(settings: Prepare, action: str) -> tuple[subprocess.Popen, Path]:
    folder = settings.out.parent
    (folder / "script.py").write_text(SCRIPT.format(action=action))
    command = [sys.executable, str(folder / "script.py"), settings.corpus[0], str(settings.out), settings.tokenizer]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reached = folder / "reached"
    process = subprocess.Popen([*command, str(reached)], env=environment, stderr=subprocess.PIPE, text=True)
    return process, reached


def test_a_worker_that_is_killed_does_not_hang_the_rest(settings: Prepare) -> None:
    process, _ = start(settings, "os.kill(os.getpid(), signal.SIGKILL)")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Resumable: a worker process was ended from outside" in said
    assert prepare(replace(settings, validation=0.005)).summary["documents"] == len(TEXTS)


def test_workers_end_with_a_killed_parent(settings: Prepare) -> None:
    process, reached = start(settings, "Path(sys.argv[4]).write_text(str(os.getpid())); import time; time.sleep(600)")
    while not (reached.exists() and reached.read_text()):
        assert process.poll() is None
        time.sleep(0.02)
    worker = int(reached.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(500):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").exists() and Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            return  # ended; nobody has asked for its exit code yet
        time.sleep(0.02)
    pytest.fail("the worker goes on without its parent")
