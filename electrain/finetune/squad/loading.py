"""JSON from files, plain or compressed, with one line for what is damaged."""

import json
from pathlib import Path
from typing import Any

from electrain.data.corpus import damage, open_file
from electrain.errors import UserError


def load(path: Path) -> Any:
    """What a JSON file holds. UserError if it is missing or damaged."""
    return parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """A file's text, decompressed where its name ends in .gz or .zst. UserError if missing, damaged or not UTF-8."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    try:
        with open_file(str(path)) as file:
            return file.read(-1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: invalid UTF-8 at byte {error.start}; convert the file to UTF-8") from error
    except damage(str(path)) as error:
        raise UserError(f"{path}: cannot be read to its end ({error}); copy it again") from error


def parse(text: str, where: str) -> Any:
    """JSON. UserError, beginning with `where`, if it is damaged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}: damaged JSON ({error.msg}, {place}); copy the file again") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise UserError(f"{where}: damaged JSON (a number of thousands of digits); copy the file again") from error
    except RecursionError as error:
        raise UserError(f"{where}: JSON nested too deep to be a set of questions; check the file") from error
