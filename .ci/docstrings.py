"""How docstrings here become Markdown: lines that name a parameter, a field or an error are items of a list."""

import re
from typing import Any

import griffe

# "fill: what it is", "ids  (b, t) int64  token ids", "UserError if ..." at the start of a line.
ITEM = re.compile(
    r"^(?:([a-z_]\w*(?:, [a-z_]\w*)*):\s+|([a-z_]\w*)(?:\s{2,}|\s+(?=\((?:[a-z]\b|\))))"
    r"|((?:[A-Z]\w*Error|Stopped)(?:, [A-Z]\w*)*)\s)(\S.*)"
)


class Lists(griffe.Extension):
    """Applied to every docstring before it is drawn."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """The docstring with its items as a list; the rest, examples of commands among it, as it was."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        found = ITEM.match(line) if lines else None
        if found:
            name = found[1] or found[2]
            lines += [""] if not inside else []
            lines.append(f"- `{name}`: {found[4]}" if name else f"- {found[3]} {found[4]}")
            inside = True
        elif inside and line.startswith("  ") and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            lines += [""] if inside and line.strip() else []
            lines.append(f"    {line}" if re.match(r"(electrain|python|torchrun) \S", line) else line)
            inside = inside and not line.strip()
    return "\n".join(lines)
