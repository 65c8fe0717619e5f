"""What README and the guide tell a person to type: commands in blocks and in the running text, Python, options."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "records").glob("*/README.md")),
]
LANGUAGES = {"sh", "python", "text"}  # of the blocks; what stands in another is tested by nobody
PROGRAMS = ("electrain", "torchrun", "make", "python", "python3", "pip", "source", "hf", ".ci/run", ".venv/bin/")
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n) {4}\S[^\n]*\n(?: {4}[^\n]*\n|\n(?= {4}))*")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A block of code: its page, the line of its first line in the page, its language ("" if indented), its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, fenced and indented, in their order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = [(m.start(2), m[1] or "none", m[2]) for m in _FENCE.finditer(text)]
    rest = _FENCE.sub(lambda m: "\n".join("" for _ in m[0].split("\n")) if "\n" in m[0] else "", text)
    lines = {start: text[:start].count("\n") + 1 for start, _, _ in found}
    made = [Block(name, lines[start], language, body) for start, language, body in found]
    made += [Block(name, rest[: m.start()].count("\n") + 1, "", m[0]) for m in _INDENTED.finditer(rest)]
    return sorted(made, key=lambda block: block.line)


def commands(block: Block) -> list[list[str]]:
    """The commands of a block of shell: continued lines joined, comments and remarks in brackets left out."""
    joined = block.text.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        words = shlex.split(re.sub(r"\s{2,}\(.*\)$", "", line.strip()), comments=True)
        if words:
            found.append(words)
    return found


def shell(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and words of every command in the blocks of a page."""
    for block in blocks(page):
        if block.language == "sh" or (block.language == "" and block.text.split()[0].startswith(PROGRAMS)):
            for words in commands(block):
                yield str(block), words


def spans(page: Path) -> list[str]:
    """Code in the running text of a page, line ends made blanks."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(found.split()) for found in _SPAN.findall(_INDENTED.sub("\n", text))]
