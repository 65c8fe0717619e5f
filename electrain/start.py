"""The run folder before the first step: a new one is laid out, one that holds this run is gone on with."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.files import sha256
from electrain.run import Record, Run, differences, identity

FIRST = "first"  # the folder of the stage before, inside the run's
STUDY = "study.json"  # what a study was asked for, in its folder
FIGURES = "figures.json"  # what a study found of a run, beside it, and of fresh weights, where there is no run


def begin(run: Run, shards: Shards, out: Path, command: str) -> None:
    """Make OUT with run.json and the tokenizer, or check that the run in it is this one.

    UserError if OUT holds something else, or a run with other settings or other data.
    """
    tokenizer = shards.folder / "tokenizer"
    if (out / "run.json").exists():
        old = Record.load(out)
        if trained(out):
            if changed := differences(old.run, run):
                what, further = "; ".join(changed), ""
                if run.steps > old.run.steps:  # the rate has fallen to where the fewer steps ended
                    further = ", and to train on, start there from this run's export (--start-from, docs/start.md)"
                raise UserError(f"{out}: holds a run with other settings ({what}); choose another --out{further}")
            if old.data_sha256 != digest(shards):
                raise UserError(f"{out}: was trained on {old.data}, which {shards.folder} does not hold; name that one")
            return
    check_free(run, out)
    if not tokenizer.is_dir():
        raise UserError(f"{tokenizer}: there is none; the data folder is not whole, run electrain prepare again")
    try:
        out.mkdir(parents=True, exist_ok=True)
        # First, so that a folder whose making was cut short is known as ours and made again.
        data = digest(shards)
        Record(run, str(shards.folder), data, command, versions(), machine(), identity(run, data)).save(out)
        shutil.rmtree(out / "tokenizer", ignore_errors=True)
        shutil.copytree(tokenizer, out / "tokenizer", ignore=_links)
    except OSError as error:
        raise UserError(f"{out}: cannot be made ({error.strerror or error})") from error


def check_free(run: Run, out: Path) -> None:
    """UserError if OUT holds other files than a run's; the stage before it may be there."""
    if (out / "run.json").exists():
        return
    if out.exists() and (not out.is_dir() or any(_foreign(run, path) for path in out.iterdir())):
        raise UserError(f"{out}: holds other files; choose an empty or a new folder for --out")


def trained(out: Path) -> bool:
    """Whether the run in `out` has made anything; if not, its start failed, and another may take its place."""
    log = out / "metrics.jsonl"
    return any((out / "checkpoints").glob("*")) or (log.exists() and log.stat().st_size > 0)


def _links(folder: str, names: list[str]) -> list[str]:
    """Symbolic links are left where they are: one in a folder from elsewhere could bring any file into the run."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def digest(shards: Shards) -> str:
    """What names the data: the SHA-256 of their manifest, which holds those of all files."""
    return sha256(shards.folder / "manifest.json")


def _foreign(run: Run, path: Path) -> bool:
    """Whether a new run's folder must not hold this: hidden files may be there, and the stage before it."""
    stage = run.first is not None and path.name == FIRST and (path / "run.json").exists()
    return path.name[0] != "." and not stage


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    found = {"python": platform.python_version()}
    for name in ("electrain", "torch", "transformers", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """The machine in a few words: processor, threads, vector instructions, GPU."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    threads = torch.get_num_threads()
    words = [name, f"{threads} thread{'s' if threads > 1 else ''}", torch.backends.cpu.get_cpu_capability()]
    if torch.cuda.is_available():
        words.append(torch.cuda.get_device_name())
    return ", ".join(words)
