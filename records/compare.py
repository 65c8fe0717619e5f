"""All of records/encoders, encoders_small, encoders_long: encoders, ways to train them, at equal operations, judged.

    python records/compare.py --data DATA --out OUT --size tiny --budget 9e12 --seeds 3 --workers 2 \\
        --glue GLUE --squad-train FIT.json --squad-dev SCORE.json --blimp BLIMP

DATA is what `electrain prepare` made. Runs `electrain study`, `cache`, `blimp`, `similarity` and `finetune`, and says
each command before it runs it; the same command goes on where it was stopped. Tables and plots come to OUT/record.
Recipes: records/compared.py; `--size long` is the modern encoder of tiny alone, for longer runs; `small-64` is Small's
encoders in tiny's rows (records/compared_small.py), `small` Small's own rows and steps. --task gives words for
`electrain finetune`: another task, or others for one of the five.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from electrain.recipes.sizes import SIZES

HERE = Path(__file__).resolve().parent
TASKS = ("stsb --epochs 1", "sst2 --epochs 0.2", "mrpc --epochs 1", "qnli --epochs 1", "wnli --epochs 3")
SQUAD = "squad --epochs 0.25"
TUNING = ("--lr", "5e-4", "--decay", "1.0", "--keep", "none")


class Encoder(NamedTuple):
    """A study: its label and folder, what the names of its sizes begin with, its recipes and their file.

    caches: where one of them is `cached`, it makes the cache; otherwise it reads that of the encoder before it
    """

    label: str
    folder: str
    before: str
    file: str
    recipes: tuple[str, ...]
    caches: bool = True


WAYS = ("mlm_15", "mlm_30", "joint", "frozen", "cached")
ENCODERS = (
    Encoder("post-LN", "post-ln", "", "compared.py", WAYS),
    Encoder("modern", "modern", "modern-", "compared.py", WAYS),
    Encoder("modern, near", "near", "modern-", "compared_near.py", WAYS, caches=False),
)
LONG = (
    Encoder("modern, near", "near", "modern-", "compared_near.py", WAYS[:-1]),
    Encoder("modern, near, 64 kept", "kept", "modern-", "compared_kept.py", ("joint",)),
)
EARLY = (
    Encoder("modern, near", "near", "modern-", "compared_small.py", WAYS),
    Encoder("post-LN", "post-ln", "", "compared_small.py", WAYS),
)
STUDIES = {  # by --size: their sizes, and encoders
    "tiny": ("tiny", ENCODERS),
    "long": ("tiny", LONG),
    "small-64": ("tiny", EARLY),
    "small": ("small", ENCODERS),
}


class Job(NamedTuple):
    """A command, and the file or pattern that is there when it has been done; without one it is always given."""

    words: list[str]
    done: Path | None = None

    @property
    def wanted(self) -> bool:
        return self.done is None or not any(self.done.parent.glob(self.done.name))


def training(args: argparse.Namespace, encoder: Encoder) -> Iterator[Job]:
    """An encoder's study; the cache is of the first seed's frozen generator."""
    size, _ = STUDIES[args.size]
    study = ["study", "ladder", "--data", str(args.data), "--out", encoder.folder, "--size", encoder.before + size]
    study += ["--budget", str(args.budget), "--seeds", str(args.seeds), "--workers", str(args.workers)]
    study += [*_compute(args), "--recipes"]
    recipes = {name: f"{HERE / encoder.file}:{name}" for name in encoder.recipes}
    cached = recipes.pop("cached", None)
    yield Job([*study, *recipes.values()])
    if cached is None:
        return
    if encoder.caches:
        out = "cache-modern" if encoder.before else "cache-post-ln"
        cache = ["cache", f"{encoder.folder}/frozen-seed0/first", "--data", str(args.data), "--out", out]
        cache += ["--length", str(SIZES[size].length), "--selections", "1"]
        yield Job([*cache, *_compute(args)], args.out / out / "cache.json")
    yield Job([*study, cached])


def judging(args: argparse.Namespace, run: Path, model: Path) -> Iterator[Job]:
    """What one run is asked. Fresh weights (then `run` is their folder, `model` has their shape) are tuned thrice."""
    fresh = run != model
    start = ["--untrained", "True"] if fresh else []
    if args.blimp and not fresh:
        yield Job(["blimp", "--model", str(model), "--data", str(args.blimp)], run / "blimp" / "*.json")
    if args.glue:
        words = ["similarity", "--model", str(model), "--data", str(args.glue), "--out", str(run / "similarity")]
        yield Job([*words, *start], run / "similarity" / "*.json")
    seeds = ["--seeds", "3"] if fresh else []
    for name, words in tasks(args).items():
        common = ["--model", str(model), "--out", str(run / "finetuned"), *TUNING, "--head", args.head]
        common += [*_compute(args), *start, *seeds]
        yield Job(["finetune", *words, *common], run / "finetuned" / name / "summary.json")


def tasks(args: argparse.Namespace) -> dict[str, list[str]]:
    """Words of each fine-tuning by the task's name."""
    found = {}
    for line in (*TASKS, *args.task):
        words = shlex.split(line)
        given = {"--data", "--train"} & set(words)
        if given or args.glue:
            found[words[0]] = words if given else [*words, "--data", str(args.glue)]
    if args.squad_train and args.squad_dev:
        found["squad"] = [*shlex.split(SQUAD), "--train", str(args.squad_train), "--dev", str(args.squad_dev)]
    return found


def runs(study: Path) -> Iterator[tuple[Path, Path]]:
    """Every run, seed by seed, and the model to judge; fresh weights once, with the shape of a run beside them."""
    for path in sorted(study.glob("*-seed*/figures.json"), key=lambda path: (path.parent.name[-1], path.parent.name)):
        run = path.parent
        if not run.name.startswith("untrained"):
            yield run, run
        elif run.name == "untrained-seed0" and (study / "mlm_15-seed0" / "run.json").exists():
            yield run, study / "mlm_15-seed0"


def give(job: Job, folder: Path) -> bool:
    """Say a command, do it, and whether it went well."""
    print("$ electrain", shlex.join(job.words), flush=True)
    code = subprocess.run([sys.executable, "-m", "electrain", *job.words], cwd=folder, check=False).returncode
    if code:
        print(f"exit code {code}: electrain {shlex.join(job.words)}", file=sys.stderr, flush=True)
    return code == 0


def record(out: Path, encoders: tuple[Encoder, ...]) -> bool:
    """Tables and plots of what is there."""
    words = [f"{encoder.label}={out / encoder.folder}" for encoder in encoders]
    command = [sys.executable, str(HERE / "encoders.py"), "--out", str(out / "record"), *words]
    return subprocess.run(command, check=False).returncode == 0


def _compute(args: argparse.Namespace) -> list[str]:
    return ["--compute.device", args.device, "--compute.threads", str(args.threads), "--compute.compile", args.compile]


def main() -> int:
    """Train, judge, lay side by side. Exit code 1 if any command failed; the others are done all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=STUDIES, default="tiny")
    parser.add_argument("--budget", type=float, default=9e12, help="operations of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="runs, or fine-tunings, at the same time")
    parser.add_argument("--glue", type=Path, help="folder of GLUE's tasks")
    parser.add_argument("--task", action="append", default=[], metavar="WORDS", help="'qnli --train FILE --dev FILE'")
    parser.add_argument("--head", choices=("mean", "dense"), default="mean", help="what is read: all tokens, or [CLS]")
    parser.add_argument("--squad-train", type=Path)
    parser.add_argument("--squad-dev", type=Path)
    parser.add_argument("--blimp", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--compile", default="False", choices=("True", "False"))
    args = parser.parse_args()
    for name in ("data", "out", "glue", "squad_train", "squad_dev", "blimp"):
        if value := getattr(args, name):
            setattr(args, name, value.resolve())
    args.out.mkdir(parents=True, exist_ok=True)
    well = True
    _, encoders = STUDIES[args.size]
    for encoder in encoders:
        for job in training(args, encoder):
            well &= not job.wanted or give(job, args.out)
    every = [pair for encoder in encoders for pair in runs(args.out / encoder.folder)]
    jobs = [job for pair in every for job in judging(args, *pair) if job.wanted]
    with ThreadPoolExecutor(args.workers) as pool:
        well &= all(list(pool.map(lambda job: give(job, args.out), jobs)))
    return 0 if record(args.out, encoders) and well else 1


if __name__ == "__main__":
    sys.exit(main())
