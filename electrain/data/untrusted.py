"""Tokenizer files from elsewhere, looked at before the library that reads them is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST = 2**24  # token ids: far above any real vocabulary, far below what takes a machine's memory
# A word too long for WordPiece, signs that few alphabets have: what a tokenizer does not know has to become something.
PROBE = "x" * 1000 + " the ☃ 東 ꙮ \u0378 1,234.5"


def check(place: Path) -> None:
    """ValueError for a tokenizer.json (or a folder's) that is no JSON or numbers its tokens beyond `LARGEST`.

    A table is laid out by these numbers: one token with a giant's would take all memory there is.
    """
    path = place / "tokenizer.json" if place.is_dir() else place
    if not path.is_file():
        return
    try:
        tree = json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("its JSON is nested too deep") from error
    for number in _numbers(tree):
        if type(number) is not int or not 0 <= number < LARGEST:
            raise ValueError(f"a token has the number {str(number)[:40]}")


def _numbers(tree: Any) -> Iterator[object]:
    """The ids of all tokens, where a tokenizer.json has them."""
    model = tree.get("model") if isinstance(tree, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, dict):
        yield from vocab.values()
    added = tree.get("added_tokens") if isinstance(tree, dict) else None
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict):
            yield token.get("id")
