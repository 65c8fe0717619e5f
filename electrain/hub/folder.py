"""A folder that is whole or not there, and transformers kept quiet while it is made."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from electrain.errors import UserError, reason
from electrain.files import sha256, sync

MARK = "electrain.json"  # says that a folder was made by an export, so that the next one may replace it


def check(out: Path) -> None:
    """UserError if `out` holds anything but an earlier export as it was written. Nothing is written."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UserError(f"--out {out}: holds files that are no export of electrain; choose an empty or a new folder")
    if own := _not_ours(out):
        named = ", ".join(own[:3]) + (f" and {len(own) - 3} more" if len(own) > 3 else "")
        raise UserError(
            f"--out {out}: {named} changed or came since the export; move them away, or choose another --out"
        )


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Hands over a folder beside `out`; at the end it is synced and takes the name, and an earlier export's place.

    UserError if `out` holds anything else, or the disk will not take it; `out` is then as it was.
    """
    out = out.absolute()
    check(out)
    beside, before = (out.with_name(f".{out.name}.{word}") for word in ("writing", "before"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.exists() and before.exists():  # a crash between the two renames below
            before.rename(out)
        for stale in (beside, before):
            shutil.rmtree(stale, ignore_errors=True)
        beside.mkdir()
        yield beside
        _note(beside)
        for path in sorted(beside.rglob("*")):
            if path.is_file():
                path.chmod(0o666 & ~_umask())  # safetensors writes files that only their owner reads
            sync(path)
        sync(beside)
        if out.exists():
            out.rename(before)
        beside.rename(out)
        sync(out.parent)
        shutil.rmtree(before, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or reason(error)
        raise UserError(f"--out {out}: cannot be written ({why}); what was there is unchanged") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _note(folder: Path) -> None:
    """Into the mark, what every other file is, so that a file of a person's is never taken for one of ours."""
    made = json.loads((folder / MARK).read_text(encoding="utf-8")) if (folder / MARK).is_file() else {}
    text = json.dumps({**made, "files": _digests(folder)}, indent=2) + "\n"
    (folder / MARK).write_text(text, encoding="utf-8")


def _not_ours(out: Path) -> list[str]:
    """Files of an export that a person changed or added; none where the export says nothing of its files."""
    try:
        noted = json.loads((out / MARK).read_text(encoding="utf-8")).get("files")
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    if not isinstance(noted, dict):
        return []
    return [name for name, digest in _digests(out).items() if noted.get(name) != digest]


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the mark, by its path within."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MARK)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


@contextmanager
def quiet(bars: bool = False) -> Iterator[None]:
    """No reports of transformers inside, and no progress bars but where `bars` asks for them (a download)."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
