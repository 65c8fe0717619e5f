"""docs/scale.md's tables are what benchmarks/scale.py makes of the results, and the results what the code says."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from electrain.plan.needs import needs
from electrain.recipes.electra import electra_base, electra_large, electra_small
from electrain.run import Run

ROOT = Path(__file__).resolve().parent.parent
NEEDS = ROOT / "benchmarks" / "results" / "scale-needs.json"


def give(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> list[object]:
    """The options that name a copy of the page and of the results."""
    shutil.copy(ROOT / "docs" / "scale.md", tmp_path / "scale.md")
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "results")
    return ["--page", tmp_path / "scale.md", "--results", tmp_path / "results"]


def test_the_tables_are_what_the_model_says() -> None:
    done = give("--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_changed_figure_fails(copy: list[object], tmp_path: Path) -> None:
    """Twice the operations of a row: the page is refused, renewed with its plot, and then accepted."""
    path = tmp_path / "results" / NEEDS.name
    found = json.loads(path.read_text())
    found["needs"]["electra_large"]["operations"] *= 2
    path.write_text(json.dumps(found))
    before = (tmp_path / "scale.md").read_text()
    done = give("--check", *copy)
    assert done.returncode == 1 and "run python benchmarks/scale.py" in done.stderr
    assert (tmp_path / "scale.md").read_text() == before
    assert give(*copy).returncode == 0 and give("--check", *copy).returncode == 0
    assert (tmp_path / "scale.md").read_text() != before
    assert "Computed, not measured" in (tmp_path / "scale.svg").read_text()


def test_the_tables_need_their_places(copy: list[object], tmp_path: Path) -> None:
    (tmp_path / "scale.md").write_text("# electrain\n")
    done = give("--check", *copy)
    assert done.returncode == 1 and "are missing" in done.stderr


def test_the_model_is_near_what_others_and_we_have_measured() -> None:
    """Ours is compiled and theirs is not: 1 to 2.5 times their rate. The CPU's step within a quarter of it."""
    page = (ROOT / "docs" / "scale.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    ratios = [float(row[4]) for row in rows if row[0].startswith("ELECTRA-") and row[1] in ("V100", "A100-40GB")]
    assert len(ratios) == 4 and all(1 <= ratio <= 2.5 for ratio in ratios), ratios
    steps = {row[2]: float(row[1].split()[0]) for row in rows if row[0].startswith("a step")}
    assert steps["computed"] == pytest.approx(steps["measured"], rel=0.25)


def test_every_figure_says_whether_it_is_measured() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    assert "every figure of a GPU on this page is computed" in page
    for line in page.splitlines():
        if line.startswith("## ") and any(word in line for word in ("GPUs", "Memory")):
            assert line.endswith("computed"), line
        if line.startswith("| `electra_small` on") or line.startswith("| `prepare` of"):
            assert line.endswith("| computed |"), line


@pytest.mark.slow
@pytest.mark.parametrize("make", [electra_small, electra_base, electra_large])
def test_the_needs_are_those_of_the_code(make: Callable[[], Run]) -> None:
    run = make()
    kept = json.loads(NEEDS.read_text())["needs"][run.recipe]
    found = json.loads(json.dumps(asdict(needs(run, dtype=torch.bfloat16))))
    for name in ("copies", "saved"):
        assert found.pop(name) == pytest.approx(kept.pop(name), rel=0.02)
    assert found.pop("alive") == pytest.approx(kept.pop("alive"), rel=0.02, abs=1000.0)
    assert found == kept
