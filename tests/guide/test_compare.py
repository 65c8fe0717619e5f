"""The commands of records/compare.py are ones that there are; it asks for nothing that has been done."""

import shlex
from argparse import Namespace
from pathlib import Path

import pytest

from electrain.recipes import load_file
from tests.guide.pages import ROOT
from tests.guide.test_commands import idle, understood

__all__ = ["idle"]  # the fixture
FRESH, TRAINED = "untrained-seed0", "mlm_15-seed0"


@pytest.fixture
def args(tmp_path: Path) -> Namespace:
    """What compare.py is told, and a study of which fresh weights and one run are there."""
    for name in (FRESH, TRAINED, "untrained-seed1"):
        (tmp_path / "modern" / name).mkdir(parents=True)
        (tmp_path / "modern" / name / "figures.json").touch()
    (tmp_path / "modern" / TRAINED / "run.json").touch()
    folders = dict.fromkeys(("data", "glue", "squad_train", "squad_dev", "blimp"), Path("elsewhere"))
    chosen = {"size": "tiny", "budget": 9e12, "seeds": 3, "workers": 1, "device": "auto", "threads": 1, "head": "mean"}
    task = ["qnli --train x.parquet --dev y.parquet"]
    return Namespace(out=tmp_path, compile="False", task=task, **folders, **chosen)


def jobs(args: Namespace) -> list:
    """Everything that it would do."""
    compare = load_file(ROOT / "records" / "compare.py")
    found = [job for encoder in compare.STUDIES[args.size][1] for job in compare.training(args, encoder)]
    return found + [job for pair in compare.runs(args.out / "modern") for job in compare.judging(args, *pair)]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("size", ["tiny", "long", "small-64", "small"])
def test_commands(
    size: str, args: Namespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind is understood by the command line; every verb comes up; fresh weights are judged in a model's shape."""
    args.size = size
    found = jobs(args)
    kinds = {(job.words[0], *(word for word in job.words if word[:2] == "--")): job.words for job in found}
    said = {shlex.join(words): understood(["electrain", *words], capsys, monkeypatch) for words in kinds.values()}
    assert not [line for line in said.items() if line[1]]
    verbs = {"study", "blimp", "similarity", "finetune"} | ({"cache"} if size != "long" else set())
    assert {job.words[0] for job in found} == verbs
    fresh = [job.words for job in found if "--untrained" in job.words]
    assert len(fresh) == 1 + 6  # cosines, five tasks of GLUE, SQuAD
    assert all(words[words.index("--model") + 1].endswith(TRAINED) for words in fresh)
    (qnli,) = {tuple(job.words[2:6]) for job in found if job.words[:2] == ["finetune", "qnli"]}
    assert qnli == ("--train", "x.parquet", "--dev", "y.parquet")


def test_done(args: Namespace) -> None:
    """What a result is there for is not wanted again; a study always is, and finds its own way on."""
    tuned = args.out / "modern" / TRAINED / "finetuned" / "stsb"
    tuned.mkdir(parents=True)
    (tuned / "summary.json").touch()
    (args.out / "cache-modern").mkdir()
    (args.out / "cache-modern" / "cache.json").touch()
    left = [job.words[:2] for job in jobs(args) if not job.wanted]
    assert left == [["cache", "modern/frozen-seed0/first"], ["finetune", "stsb"]]
