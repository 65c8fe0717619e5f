"""Every link of every Markdown file of the repository: files and anchors are there, addresses are well formed."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.guide.pages import ROOT
from tests.test_architecture import tracked

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
FILES = sorted(path for path in tracked() if path.suffix == ".md")


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as hosts of repositories and the site make them."""
    heads = re.findall(r"(?m)^#{1,6} (.*)$", CODE.sub(lambda m: m[0] if m[0][:3] != "```" else "", path.read_text()))
    found = []
    for head in heads:
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).lower()
        found.append(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return frozenset(found)


def wrong(link: str, page: Path) -> str:
    """What is wrong with a link of a page, or ""."""
    parts = urlsplit(link)
    if parts.scheme:
        fine = parts.scheme in ("https", "mailto") and (parts.netloc.count(".") > 0 or "@" in parts.path)
        return "" if fine and not re.search(r"[<>\"\\ ]", link) else "no well formed address"
    target = (page.parent / parts.path).resolve() if parts.path else page
    if not target.exists():
        return "no such file"
    if parts.fragment and (target.suffix != ".md" or parts.fragment not in anchors(target)):
        return "no such heading"
    return ""


@pytest.mark.parametrize("page", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found = {link: wrong(link, page) for link in LINK.findall(text)}
    assert not any(found.values()), {link: why for link, why in found.items() if why}


def test_a_broken_link_is_found() -> None:
    page = ROOT / "docs" / "index.md"
    for link in ("no.md", "finetune.md#no-such-heading", "#nothing", "http://plain", "https://nodots", "../nowhere/x"):
        assert wrong(link, page), link
    for link in ("finetune.md#settings", "../README.md#speed", "https://arxiv.org/abs/2003.10555"):
        assert not wrong(link, page), link


def test_every_page_is_in_the_menu() -> None:
    """mkdocs.yml names each page of docs/, and no page that is not there."""
    text = (ROOT / "mkdocs.yml").read_text()
    tree = yaml.safe_load(text)["nav"]

    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [leaf for part in (node.values() if isinstance(node, dict) else node) for leaf in leaves(part)]  # type: ignore[attr-defined]

    named = set(leaves(tree))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert not there - named, "pages in no menu"
    missing = {name for name in named - there if not (ROOT / name).is_file()}
    assert missing == {"notebook.md"}  # made from examples/first.ipynb
