"""Text from elsewhere, a document's or a name, in what is shown: Markdown, code, a line on a terminal."""

import re
import unicodedata

LONGEST = 2000  # characters of a message
# What begins a link, emphasis, code, a table's cell or a formula anywhere in a line; not the _ inside a name.
_MARKS = re.compile(r"([\\`*\[\]#|~$]|(?<!\w)_|_(?!\w))")
_SIGNS = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown(text: str) -> str:
    """In one line, as it reads: nothing in it is taken for Markdown or HTML."""
    line = " ".join(printable(text).split())
    return _MARKS.sub(r"\\\1", "".join(_SIGNS.get(sign, sign) for sign in line))


def fenced(text: str, language: str = "") -> str:
    """A block of code that the text cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def printable(text: str) -> str:
    """Control characters, and those that turn the direction of writing, as \\x1b and the like; line ends stay."""
    return "".join(sign if _shown(sign) else sign.encode("unicode_escape").decode() for sign in text)


def message(text: str) -> str:
    """A message for a terminal: printable, in one line, of bounded length."""
    line = printable(" ".join(text.splitlines()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 200]} [...] {line[-190:]}"


def _shown(sign: str) -> bool:
    return sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or sign in "\u200c\u200d"
