"""A page that is complete in itself: style, script, plotly and data inside, and no leave to ask a network."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from electrain.errors import UserError
from electrain.files import write
from electrain.report.tags import Html, join, tag, text

MARK = "<!-- a page of electrain: written anew by the command that made it -->"


def page(title: str, body: Html, data: dict[str, Any]) -> str:
    """The whole file. `data` is what page.js draws; the script runs, and no other."""
    scripts = [_plotly(), _beside("page.js")]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_beside("page.css"))),
    )
    # In JSON "<" stands in strings alone; spelt out, no text of a person ends the element.
    held = Html(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
    parts = [body, tag("script", held, type="application/json", id="data"), *(tag("script", Html(s)) for s in scripts)]
    return f"<!DOCTYPE html>\n{MARK}\n" + tag("html", tag("head", head), "\n", tag("body", *parts), lang="en") + "\n"


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("</script", "<\\/script").replace("<!--", "<\\!--")


def save(path: Path, content: str) -> None:
    """Write a page, whole or not at all. UserError if that cannot be, or if another file has the name."""
    check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be made ({error.strerror}); choose another --out") from error
    write(path, content.encode())


def check(path: Path) -> None:
    """UserError if a page must not be written there: a folder, or a file that is no page of ours."""
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; name a file in it, such as {path / 'report.html'}")
    if path.exists():
        with path.open("rb") as file:
            if MARK.encode() not in file.read(len(MARK) + 100):
                raise UserError(f"--out {path}: there is another file of this name; choose another")


def terms(pairs: list[tuple[str, object]]) -> Html:
    """A list of terms and what they are; a pair with "" is left out."""
    items = [part for name, said in pairs if said != "" for part in (tag("dt", name), tag("dd", said))]
    return tag("dl", *items)


def table(head: list[object], rows: list[list[object]], caption: str = "", class_: str | None = None) -> Html:
    """A table that scrolls by itself where it is too wide. The first cell of a row is its head."""
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    lines = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    said = tag("caption", caption) if caption else None
    whole = tag("table", said, top, tag("tbody", *lines), class_=class_)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=text(caption or str(head[0])))
