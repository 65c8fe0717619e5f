"""The built-in corpus: the English documentation in the reader's own Python installation.

Source files are scanned, never imported, so that the corpus depends on the installed files alone. A module's docstrings
make one document, in the order in which they stand in the file.
"""

import hashlib
import importlib.util
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

# Well documented packages, those first that everybody who can run this has; one that is not installed is left out.
PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "sklearn",
    "datasets",
    "tokenizers",
    "huggingface_hub",
    "safetensors",
    "pandas",
    "pyarrow",
    "sympy",
    "networkx",
    "matplotlib",
    "jax",
    "tensorflow",
)
TARGET_BYTES = 28_000_000  # enough for a first run; more would only make it slower
SKIPPED_FOLDERS = frozenset({"test", "tests", "testing", "idle_test", "lib2to3", "site-packages", "_vendor"})
MIN_CHARACTERS = 80
MIN_LETTERS = 0.7  # share of letters and blanks: leaves out tables, formulas and drawings

# Strings and comments in the order in which they stand: only who steps over all can tell a docstring's quotes.
_LITERAL = re.compile(
    r"#[^\n]*"
    r'|(?:\b[rRbBuUfFtT]{1,2})?(?:"""(?:[^"\\]+|\\.|"(?!""))*+"""'
    r"|'''(?:[^'\\]+|\\.|'(?!''))*+'''"
    r'|"(?:[^"\\\n]+|\\.)*+"'
    r"|'(?:[^'\\\n]+|\\.)*+')",
    re.DOTALL,
)
_ROLE = re.compile(r":[a-z:]+:`~?\.?([^`<]*?)(?:\s*<[^>`]*>)?`")
_LINK = re.compile(r"\[`~?([^`\]]*)`\](?:\([^)\s]*\))?|\[([^\]\n]+)\]\(https?://[^)\s]*\)|`([^`<\n]+)\s<[^>\n]*>`_+")
_MARKS = re.compile(r"`+([^`\n]+)`+|\*\*([^*\n]+)\*\*")
_DIRECTIVE = re.compile(r"^\s*\.\. [\w:-]+::.*$", re.MULTILINE)
_ESCAPE = re.compile(r"\\\n|\\([\\'\"nt])")
_MEANING = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}
_RULE = re.compile(r"^\s*([-=~^#*+_.\"'`])\1{2,}\s*$|^\s*[-=+| ]{6,}$")
_CODE = ("```", "{{", "{%", "$$")
_BLANK_LINES = re.compile(r"\n{3,}")


def fingerprint() -> str:
    """A short hash of what the corpus depends on: the Python version and the versions of the packages it reads."""
    found = [f"python {sys.version.split()[0]}", *_installed_versions()]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


def builtin_documents(workers: int = 2, target_bytes: int = TARGET_BYTES) -> Iterator[str]:
    """The documents, the same ones in the same order on each run of one installation, whatever `workers` is.

    Stops at the package in which `target_bytes` of UTF-8 are passed. A docstring that was seen before is left out.
    """
    seen: set[bytes] = set()
    total = 0
    with ProcessPoolExecutor(max(workers, 1), mp_context=get_context("forkserver")) as pool:
        for name in ("stdlib", *PACKAGES):
            folder = _folder(name)
            if folder is None or total >= target_bytes:
                continue
            for docstrings in pool.map(_docstrings, _files(folder), chunksize=32):
                fresh = list(_unseen(docstrings, seen))
                if fresh:
                    document = "\n\n".join(fresh)
                    total += len(document.encode())
                    yield document


def clean(docstring: str) -> str:
    """Dedented prose of a docstring, without doctests, code blocks, ruler lines, mark-up; "" where little is left."""
    text = inspect.cleandoc(docstring)
    if "`" in text or "*" in text:
        text = _MARKS.sub(_first_group, _LINK.sub(_first_group, _ROLE.sub(r"\1", text)))
    if ".. " in text:
        text = _DIRECTIVE.sub("", text)
    text = "\n".join(_prose_lines(text)).strip()
    text = _BLANK_LINES.sub("\n\n", text)
    letters = sum(map(str.isalpha, text)) + text.count(" ")
    if len(text) < MIN_CHARACTERS or letters < MIN_LETTERS * len(text) or any(mark in text for mark in _CODE):
        return ""
    return text


def _prose_lines(text: str) -> Iterator[str]:
    in_doctest = in_fence = False
    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith("```"):
            in_fence = not in_fence
            continue
        if bare.startswith(">>>"):
            in_doctest = True
        elif in_doctest and not bare:  # what a doctest prints ends at a blank line
            in_doctest = False
        if not (in_doctest or in_fence or _RULE.match(line)):
            yield line.rstrip()


def _docstrings(path: Path) -> list[str]:
    """The cleaned docstrings of one file, in order."""
    source = path.read_text(encoding="utf-8", errors="replace")
    found = []
    for match in _LITERAL.finditer(source):
        literal = match.group()
        if len(literal) < MIN_CHARACTERS or literal[-3:] not in ('"""', "'''"):
            continue
        quote = literal.index(literal[-3:])
        if "b" in literal[:quote].lower() or "f" in literal[:quote].lower() or not _is_docstring(source, match.start()):
            continue
        body = literal[quote + 3 : -3]
        if "\\" in body and "r" not in literal[:quote].lower():
            body = _ESCAPE.sub(lambda escape: _MEANING.get(escape[1] or "", ""), body)
        if text := clean(body):
            found.append(text)
    return found


def _is_docstring(source: str, start: int) -> bool:
    """Whether a literal stands alone on its line, after a colon or with nothing but comments before it."""
    line = source.rfind("\n", 0, start) + 1
    if source[line:start].strip():
        return False
    while line > 0:
        previous = source.rfind("\n", 0, line - 1) + 1
        before = source[previous : line - 1].strip()
        if before and not before.startswith("#"):
            return before.split("  #")[0].rstrip().endswith(":")
        line = previous
    return True


def _unseen(docstrings: Iterable[str], seen: set[bytes]) -> Iterator[str]:
    for text in docstrings:
        key = hashlib.blake2b(text.encode(), digest_size=12).digest()
        if key not in seen:
            seen.add(key)
            yield text


def _files(folder: Path) -> list[Path]:
    """The Python files under a folder that are no tests, sorted by path."""
    found = [path for path in folder.rglob("*.py") if not SKIPPED_FOLDERS & set(path.relative_to(folder).parts[:-1])]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _folder(name: str) -> Path | None:
    if name == "stdlib":
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(name)  # a top-level name: finds the files without running any of them
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _installed_versions() -> Iterator[str]:
    names = metadata.packages_distributions()
    for package in PACKAGES:
        for distribution in names.get(package, [])[:1]:
            yield f"{package} {metadata.version(distribution)}"


def _first_group(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), "")
