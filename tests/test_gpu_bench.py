"""benchmarks/gpu.sh, dry: the code that runs on a GPU, here on the CPU with tiny shapes; what it leaves, no times."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("machine", "parity", "graph", "table", "run", "summary")


def dry(out: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "XDG_CACHE_HOME": str(out / "cache")}
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(out), "--dry", "--minutes", "60"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def read(out: Path) -> dict[str, Any]:
    return {name: json.loads((out / f"{name}.json").read_text(), parse_constant=not_json) for name in PARTS}


def not_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def numbers(tree: Any) -> Iterator[float]:
    if isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers(inner)
    elif isinstance(tree, float):
        yield tree


@pytest.mark.slow
def test_the_dry_run_leaves_every_part_and_goes_on(tmp_path: Path) -> None:
    made = dry(tmp_path)
    log = (tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""
    assert made.returncode == 0, made.stderr + made.stdout + log[-3000:]
    assert 8 < len(made.stdout.splitlines()) < 40
    found = read(tmp_path)
    assert all(math.isfinite(number) for number in numbers(found))
    assert found["summary"]["failed"] == [] and found["summary"]["pass"] is True

    machine = found["machine"]
    assert machine["matrix_tflops"] > 0 and machine["bandwidth_gb_s"] > 0 and machine["fp32_tflops"] > 0
    assert machine["versions"]["torch"] and min(machine["products_tflops"].values()) > 0

    same, rounded = found["parity"]["checks"]
    assert found["parity"]["pass"] and same["places_equal"] and same["sampled_equal"] == 1.0
    assert same["gradient_error"] == 0.0 < rounded["gradient_error"] <= rounded["bounds"]["gradient"]
    assert same["errors"].keys() == rounded["errors"].keys() and len(same["errors"]) > 40

    graph = found["graph"]
    assert graph["compiled"]["graphs"] == graph["compiled"]["lowered"] == 1 and graph["compiled"]["graph_breaks"] == 0
    assert graph["optimizer"]["fused"] and graph["eager_agrees"]["error"] <= 0.01 and graph["pass"]
    assert all("CUDA's own" in graph[name]["skipped"] for name in ("sync", "attention", "cuda_graphs"))
    profile = (tmp_path / "profile.txt").read_text().splitlines()
    assert len(profile) == 4 + 25 + 1 and "aten::" in profile[4]

    waves = found["table"]["waves"]
    rows = {row["name"]: row for wave in waves.values() for row in wave["rows"]}
    assert len(rows) == 4 and found["table"]["done"]
    for row in rows.values():
        assert "failed" not in row, row
        assert 0 < row["lowest"] <= row["tokens_per_second"] <= row["highest"] and row["peak_mib"] > 0
        assert row["share_of_matrix_rate"] == pytest.approx(
            row["tokens_per_second"] * row["operations_per_token"] / 1e12 / machine["matrix_tflops"]
        )
    assert set(found["summary"]["ratios"]) == {"electra 8x32"}
    cost = {name.split()[0]: row["operations_per_token"] for name, row in rows.items()}
    assert 0 < cost["fast_electra_cached"] < cost["electra"]

    run = found["run"]
    assert run["stopped"] == "SIGTERM" and run["from_step"] == 0 < run["to_step"] < run["steps_of_the_recipe"]
    assert [line["step"] for line in run["curve"]][:3] == [5, 10, 15]

    again = dry(tmp_path)  # finished parts are kept, the run goes on
    assert again.returncode == 0, again.stderr + again.stdout
    assert again.stderr.count("kept from before") == 4
    later = read(tmp_path)
    assert {name: later[name] for name in PARTS[:4]} == {name: found[name] for name in PARTS[:4]}
    assert later["run"]["to_step"] > run["to_step"] and later["run"]["from_step"] >= 15
