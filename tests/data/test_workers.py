"""The command line's workers do not import its main module again."""

import sys
from multiprocessing.spawn import get_preparation_data

import pytest

from electrain.data.workers import main_unseen


def told() -> set[str]:
    """What a process that is started now would be told to import as its main module."""
    return {name for name in get_preparation_data("worker") if name.startswith("init_main")}


def test_main_is_unseen_inside_and_as_before_after(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", "script.py", raising=False)
    assert told() == {"init_main_from_path"}
    with pytest.raises(KeyError), main_unseen():
        assert not told()
        raise KeyError
    assert told() == {"init_main_from_path"} and main.__file__ == "script.py"
