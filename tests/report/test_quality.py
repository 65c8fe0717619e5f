"""Quality against operations: mean and spread over seeds, from a study's figures and from its logs."""

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from electrain.errors import UserError
from electrain.report import quality
from electrain.report.history import histories
from electrain.start import FIGURES
from electrain.study.figures import Figures
from electrain.study.page import html
from tests.report.test_report import Seen, runs, seen  # noqa: F401 - a fixture
from tests.training import one_thread  # noqa: F401 - a fixture

FOUND = [
    Figures("untrained", 0, probe_moved=0.5),
    Figures("<b>a</b>", 0, operations=1e12, probe_moved=0.6, swap_auc=0.7),
    Figures("<b>a</b>", 1, operations=1e12, probe_moved=0.7, swap_auc=0.9),
    Figures("c", 0, operations=1.001e12, probe_moved=0.55),
]


@pytest.fixture
def study(runs: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A study's folder with two seeds of one recipe and one of another, and fresh weights."""
    out = tmp_path / "study"
    for name, run, one in zip(
        ("u-seed0", "a-seed0", "a-seed1", "c-seed0"), ("", "one", "two", "bert"), FOUND, strict=True
    ):
        folder = out / name
        if run:
            shutil.copytree(runs / run, folder)
            tree = json.loads((folder / "run.json").read_text())
            tree["run"]["recipe"] = one.recipe
            (folder / "run.json").write_text(json.dumps(tree))
        else:
            folder.mkdir(parents=True)
        one.save(folder)
    (out / "study.json").write_text("{}")
    return out


def plots(page: str) -> dict[str, Any]:
    """Plots of a page by their title."""
    return {plot["title"]: plot for plot in Seen(page).data["panels"]}


def test_the_ends_have_every_seed_and_the_spread(study: Path) -> None:
    content = html(study, "<i>a study</i>", ["untrained", "<b>a</b>", "c"])
    assert content is not None
    assert Seen(content).words.startswith("<i>a study</i> <i>a study</i>") and "<b>a</b>" in Seen(content).words
    moved = plots(content)[quality.MEASURES["probe_moved"]]
    seeds, mean = (t for t in moved["traces"] if t["y"][0] == "&lt;b&gt;a&lt;/b&gt;")  # as plotly reads text
    assert seeds["x"] == [0.6, 0.7] and mean["x"] == pytest.approx([0.65])
    assert mean["error_x"]["array"] == pytest.approx([statistics.stdev([0.6, 0.7])])
    assert moved["layout"]["yaxis"]["categoryarray"] == ["untrained", "c", "&lt;b&gt;a&lt;/b&gt;"]
    swaps = plots(content)[quality.MEASURES["swap_auc"]]
    assert {t["y"][0] for t in swaps["traces"]} == {"&lt;b&gt;a&lt;/b&gt;"}  # c has no such figure
    assert quality.MEASURES["mlm_accuracy"] not in plots(content)


def test_the_way_there_is_the_mean_over_seeds(study: Path) -> None:
    content = html(study, "a study", ["<b>a</b>", "c"])
    assert content is not None
    band, line, other = plots(content)["Masked-LM loss"]["traces"]
    logs = [
        [json.loads(words) for words in (study / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("a-seed0", "a-seed1")
    ]
    held_out = [[one["mlm_loss"] for one in log if one["kind"] == "eval"] for log in logs]
    assert line["y"] == pytest.approx([statistics.fmean(pair) for pair in zip(*held_out, strict=True)])
    a_step = histories((study / "a-seed0",))[0].recorded.operations
    assert line["x"] == pytest.approx([step * a_step for step in (10, 20, 30, 40)])
    assert max(band["y"][:4]) == pytest.approx(max(
        statistics.fmean(pair) + statistics.stdev(pair) for pair in zip(*held_out, strict=True)
    ))  # fmt: skip
    assert len(other["x"]) == 4 and "Discriminator AUC" in plots(content)


def test_several_budgets_make_a_curve(study: Path) -> None:
    for name, operations, moved in (("a-seed0", 4e12, 0.8), ("a-seed1", 4e12, 0.9)):
        shutil.copytree(study / name, study / f"{name}-more")
        Figures("<b>a</b>", 0, operations=operations, probe_moved=moved).save(study / f"{name}-more")
    page = seen(study)
    line, other, fresh = next(
        plot["traces"] for plot in page.data["panels"] if plot["title"] == quality.MEASURES["probe_moved"]
    )
    assert line["x"] == [1e12, 4e12] and line["y"] == pytest.approx([0.65, 0.85])
    assert line["error_y"]["array"] == pytest.approx([statistics.stdev([0.6, 0.7])] * 2)
    assert (other["x"], other["y"]) == ([1.001e12], [0.55]) and fresh["y"] == [0.5, 0.5]


def test_damaged_figures_and_a_study_that_has_not_begun(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (study / "a-seed0" / FIGURES).write_text("{")
    (study / "c-seed0" / FIGURES).write_text('{"recipe": "c", "seed": 0, "operations": NaN}')
    assert [one.recipe for one in quality.judged([study])] == ["<b>a</b>", "untrained"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "study.json").write_text("{}")
    assert html(tmp_path / "empty", "a study", []) is None  # fresh weights are judged before a run begins
    assert capsys.readouterr().err == ""
    (study / "a-seed0" / "run.json").write_text("{")
    assert html(study, "a study", []) is None
    assert "no page: " in capsys.readouterr().err


def test_its_folders_may_be_named_one_by_one(study: Path) -> None:
    """STUDY/*-seed*: fresh weights, which were never run, stand among the runs, but not alone."""
    fresh, *others = sorted(study.glob("*-seed*"), key=lambda path: path.name != "u-seed0")
    panels = seen(fresh, *others).data["panels"]
    moved = next(plot for plot in panels if plot["title"] == quality.MEASURES["probe_moved"])
    assert "untrained" in moved["layout"]["yaxis"]["categoryarray"]
    with pytest.raises(UserError, match="fresh weights that a study has judged, and no run"):
        histories((fresh, fresh))
