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


@pytest.mark.slow
def test_slurm_writes_what_this_machine_writes(settings: Prepare, slurm: Path) -> None:
    here = prepare(settings)
    cluster = Cluster(partition="long", time="01:30:00", memory_gb=3)
    there = replace(settings, engine="slurm", cluster=cluster, workers=5, out=settings.out.with_name("slurm"))
    assert prepare(there) == here
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
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(UserError, match="Ray is not installed; install it with"):
            prepare(replace(settings, engine="ray"))
        assert not settings.out.exists()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UserError, match="sbatch is not found"):
        prepare(replace(settings, engine="slurm", cluster=Cluster(partition="long")))
    assert not settings.out.exists()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_writes_what_this_machine_writes(settings: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    here = prepare(settings)
    assert prepare(replace(settings, engine="ray", workers=2, out=settings.out.with_name("ray"))) == here


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
