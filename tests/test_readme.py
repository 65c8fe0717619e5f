"""README's speed table is what benchmarks/readme.py makes of the results."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def give(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> list[object]:
    """The options that name a copy of README and results."""
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "results")
    return ["--readme", tmp_path / "README.md", "--results", tmp_path / "results"]


def test_the_table_is_what_the_results_say() -> None:
    done = give("--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_figure_fails(copy: list[object], tmp_path: Path) -> None:
    path = next(path for path in (tmp_path / "results").glob("*.json") if "of the joint ELECTRA" in path.read_text())
    found = json.loads(path.read_text())
    variants = {
        "transformers eager": {"rate": 100.0, "lowest": 90.0, "highest": 110.0, "peak_mib": 400.0},
        "transformers compiled": {"rate": 200.0, "lowest": 190.0, "highest": 210.0, "peak_mib": 300.0},
        "electrain compiled": {"rate": 1500.0, "lowest": 1400.0, "highest": 1600.0, "peak_mib": 150.0},
    }
    changed = {"date": "9999-01-01", "machine": "an abacus", "memory_to_best_transformers": 0.5, "variants": variants}
    path.write_text(json.dumps({**found, **changed}))
    before = (tmp_path / "README.md").read_text()
    done = give("--check", *copy)
    assert done.returncode == 1 and "run python benchmarks/readme.py" in done.stderr
    assert (tmp_path / "README.md").read_text() == before
    assert give(*copy).returncode == 0 and give("--check", *copy).returncode == 0
    text = (tmp_path / "README.md").read_text()
    assert "| 7.50 × | " in text and "0.50 of its memory | 1,500 tokens/s (1,400 to 1,600) | 200 tokens/s" in text
    assert "an abacus" in text


def test_the_table_needs_its_place(copy: list[object], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# electrain\n")
    done = give(*copy)
    assert done.returncode == 1 and "are missing" in done.stderr
