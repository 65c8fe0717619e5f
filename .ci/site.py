"""What mkdocs is told about this repository: links that leave docs/, formulas as MathML, the notebook as a page.

docs/ is the root of the site. A file elsewhere that a page links to (a record, a job script) joins the site under its
path in the repository, so that the same links work in the repository and on the site.
"""

import json
import os
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTEBOOK = ROOT / "examples" / "first.ipynb"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
LOADED = re.compile(
    r"""<(?:script|img|iframe|link(?! rel="(?:canonical|prev|next)"))[^>]+(?:src|href)=["']?(https?:[^"' >]+)"""
)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def outside(path: Path) -> Iterator[Path]:
    """Files outside docs/ that a Markdown file links to; of a folder, its README.md."""
    for _, link, _ in LINK.findall(path.read_text(encoding="utf-8")):
        target = file_of(link, path)
        if target is not None and target.is_file() and not target.is_relative_to(DOCS) and target != NOTEBOOK:
            yield target


def file_of(link: str, path: Path) -> Path | None:
    """The file that a link in `path` leads to, or None where it leads out of the repository or within the page."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    target = Path(os.path.normpath(path.parent / parts.path))
    return target / "README.md" if target.is_dir() else target


def place(path: Path) -> str:
    """Where a file of the repository lies on the site."""
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebook's page, and the files outside docs/ that are linked to, and those that these link to."""
    files.append(File.generated(config, "notebook.md", content=notebook()))
    files.append(File.generated(config, place(NOTEBOOK), abs_src_path=str(NOTEBOOK)))
    waiting = [found for path in sorted(DOCS.rglob("*.md")) for found in outside(path)]
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(place(path)) is None:
            files.append(File.generated(config, place(path), abs_src_path=str(path)))
            waiting += outside(path) if path.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the repository become links of the site."""
    source = page.file.src_uri
    path = NOTEBOOK if source == "notebook.md" else DOCS / source if (DOCS / source).exists() else ROOT / source

    def mended(found: re.Match[str]) -> str:
        target = file_of(found[2], path)
        if target is None:
            return found[0]
        anchor = urlsplit(found[2]).fragment
        there = "notebook.md" if target == NOTEBOOK and path != NOTEBOOK else place(target)
        link = os.path.relpath(there, os.path.dirname(source) or ".")
        return f"]({link}{'#' + anchor if anchor else ''})"

    return LINK.sub(mended, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas become MathML, which browsers draw without a script."""

    def drawn(found: re.Match[str]) -> str:
        return convert(unescape(found[2]).strip(), display="block" if found[1] == "div" else "inline")

    return FORMULA.sub(drawn, html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """No page loads anything from elsewhere."""
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: loads {found[1]}; the site must work without the network")
    return output


def notebook() -> str:
    """The notebook's cells as Markdown."""
    parts = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts.insert(1, f"[Download the notebook]({NOTEBOOK.name}), or open `{place(NOTEBOOK)}` in your clone.")
    return "\n\n".join(parts) + "\n"
