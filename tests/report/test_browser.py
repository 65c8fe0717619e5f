"""The page as a browser shows it: plots are drawn, nothing is refused or reached for, a link leads to the same view."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from electrain.report.build import report
from electrain.report.settings import Report
from tests.report.test_report import runs  # noqa: F401 - a fixture
from tests.training import one_thread  # noqa: F401 - a fixture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:  # noqa: F811
    named = Path(shutil.copytree(runs / "two", runs / "<img src=x onerror=document.title='bad'>"))
    return report(Report((runs / "one", named, runs / "bert"), runs / "page.html"))


def shown(page: Path, view: str, folder: Path) -> tuple[str, str]:
    """The document after its script has run, without the scripts; and what the browser complained of."""
    assert CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=10000"]
    log = ["--enable-logging=stderr", "--log-level=0"]
    done = subprocess.run(
        [CHROMIUM, *flags, *log, "--dump-dom", f"{page.as_uri()}{view}"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL), "\n".join(said)


def test_plots_are_drawn_over_what_the_address_says(page: Path, tmp_path: Path) -> None:
    plots = page.read_text().count('class="plot"')
    for view, head, drawn in (
        ("", "steps", 3),
        ("#x=tokens&hide=1,2", "tokens", 1),
        ("#x=hours", "hours of training", 3),
    ):
        document, said = shown(page, view, tmp_path / "profile")
        assert said == "" and "<title>bad" not in document
        assert f'data-drawn="{view.partition("=")[2].partition("&")[0] or "steps"}"' in document
        # A first plot, the loss, is of every run that is shown; each of its curves is a group of class "trace".
        figures = re.findall(r'<figure(?: hidden="")?>.*?</figure>', document, re.DOTALL)
        assert len(figures) == plots
        assert figures[0].count('class="trace scatter') == 2 * drawn  # training and held out
        assert f">{head}</text>" in figures[0]
        assert all("main-svg" in figure for figure in figures if not figure.startswith("<figure hidden"))
        # What no shown run has is hidden.
        assert any(figure.startswith("<figure hidden") for figure in figures) == (drawn == 1 and "hide=1,2" not in view)
