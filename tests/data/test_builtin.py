from pathlib import Path

import pytest

from electrain.data import builtin
from electrain.data.builtin import builtin_documents, clean, fingerprint

MODULE = '''#!/usr/bin/env python
# A comment with a stray """ in it.
"""What this module is for: it shows a docstring that is long enough to be kept by those who
collect them."""

x = """This is no docstring but a string, however long it may be, since it is assigned to a name
    and that is what counts."""


def one(a: dict = {"x": 'it"s'}):  # trailing
    r"""Returns the first of :class:`~package.Thing` and ``x``, with ``all`` the words that a docstring
    of some length needs, a back\\slash among them.

    >>> one(1)
    2

    Parameters
    ----------
    a : int
        The one parameter that there is, explained at some length for the sake of it.
    """
    return """Neither is this, which is returned by the function and not told to any reader of the
    documentation."""


class Two:
    \'\'\'Another kind of quotes around a text that is long enough to be kept by those who collect
    docstrings; it isn\\'t short.\'\'\'

    def short(self):
        """Too short."""

    def same(self):
        \'\'\'Another kind of quotes around a text that is long enough to be kept by those who collect
        docstrings; it isn\\'t short.\'\'\'
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    (folder / "tests").mkdir(parents=True)
    (folder / "b.py").write_text(MODULE)
    (folder / "a.py").write_text('"""' + "The first module of the package by its name. " * 3 + '"""')
    (folder / "copy.py").write_text(MODULE)
    (folder / "tests/test_a.py").write_text('"""' + "A test, which is not documentation of anything. " * 3 + '"""')
    monkeypatch.setattr(builtin, "_folder", lambda name: folder if name == "stdlib" else None)
    return folder


def test_a_document_is_a_module_with_its_docstrings_in_order(package: Path) -> None:
    first, second = builtin_documents(1)
    assert first == ("The first module of the package by its name. " * 3).strip()
    assert second.split("\n\n") == [
        "What this module is for: it shows a docstring that is long enough to be kept by those who\ncollect them.",
        "Returns the first of package.Thing and x, with all the words that a docstring\n"
        "of some length needs, a back\\slash among them.",
        "Parameters\na : int\n    The one parameter that there is, explained at some length for the sake of it.",
        "Another kind of quotes around a text that is long enough to be kept by those who collect\n"
        "docstrings; it isn't short.",
    ]


def test_it_is_the_same_with_two_processes(package: Path) -> None:
    assert list(builtin_documents(2)) == list(builtin_documents(1))


def test_what_is_not_prose_is_left_out() -> None:
    table = "\n".join(f"| {i} | {i * i} | {i**3} |" for i in range(30))
    assert clean(table) == "" and clean("short") == "" and clean(">>> 1 + 1\n2\n" * 30) == ""


@pytest.mark.slow
def test_this_installation_has_megabytes_of_it() -> None:
    documents = list(builtin_documents(2))
    assert sum(map(len, documents)) > 3_000_000 and len(set(documents)) == len(documents)
    assert not any(">>>" in text for text in documents[:500])
    assert fingerprint() == fingerprint()
