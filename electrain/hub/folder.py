"""A folder that is whole or not there, and transformers kept quiet while it is made."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from electrain.errors import UserError
from electrain.files import sync

MARK = "electrain.json"  # says that a folder was made by an export, so that the next one may replace it


def check(out: Path) -> None:
    """UserError if `out` holds anything but an earlier export. Nothing is written."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; choose another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UserError(f"--out {out}: holds files that are no export of electrain; choose an empty or a new folder")


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
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({error.strerror or error}); what was there is unchanged"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


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
