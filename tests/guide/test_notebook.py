"""The guide's notebook: it runs from top to bottom, and git holds it without outputs."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import prose
from tests.guide.pages import ROOT
from tests.training import last

NOTEBOOK = ROOT / "examples" / "first.ipynb"


def test_git_holds_no_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None, "".join(cell["source"])[:80]


def test_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, but for the first cell's corpus and steps and the size of the vocabulary."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(prose.documents(300)):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    book = nbformat.read(NOTEBOOK, as_version=4)
    changes = {'CORPUS = "builtin"': f'CORPUS = "{tmp_path / "texts"}"', "STEPS = 400": "STEPS = 4"}
    changes |= {"vocab_size=8192, validation=0.01": "vocab_size=320, validation=0.05, workers=1"}
    changes |= {"log_every=20, eval_every=100": "log_every=2, eval_every=2, eval_rows=8, batch=4"}
    found = set()
    for cell in book.cells:
        for old, new in changes.items():
            if old in cell.source:
                cell.source = cell.source.replace(old, new)
                found.add(old)
    assert found == set(changes)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert last(tmp_path / "runs" / "notebook" / "run").name == "step-000004"
    shown = [out for cell in book.cells for out in cell.get("outputs", []) if "data" in out]
    assert any("image/png" in out["data"] for out in shown)
    html = next(out["data"]["text/html"] for out in shown if "<span" in out["data"].get("text/html", ""))
    assert html.count("<span") >= 15 and "rgba(230, 97, 0" in html  # a colour for each token of the sentence
