"""The files that the guide has a person write."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guide.pages import PAGES

OWN = """from electrain.recipes.tiny import electra_tiny
from electrain.run import Run


def mine() -> Run:
    return electra_tiny()
"""


@pytest.fixture
def tutorial(tmp_path: Path) -> Iterator[Path]:
    """A folder with these files; modules that are loaded from it are forgotten afterwards."""
    files = {"my_recipes.py": OWN}
    for page in PAGES:
        files |= dict(re.findall(r'(?ms)^```python title="([\w.]+)"\n(.*?)^```$', page.read_text(encoding="utf-8")))
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)
