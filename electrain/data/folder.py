"""The output folder of `prepare`: empty, finished, unfinished, or of others; and what is left of it on failure."""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from electrain.data.manifest import NAME, Manifest
from electrain.data.settings import command
from electrain.data.work import NO_SPACE, REFUSED, STOP, WORK, Resumable
from electrain.errors import UserError
from electrain.files import replace
from electrain.lock import locked

SETTINGS = "settings.json"
OURS = (WORK, "train", "validation", "tokenizer", "frequencies.npy")


def finished(out: Path, identity: Mapping[str, object]) -> Manifest | None:
    """The manifest, if this very preparation is finished there; None if it can be begun or gone on with.

    UserError if the folder holds anything else. Nothing is written.
    """
    if not out.exists():
        for parent in out.parents:
            if parent.exists() and not parent.is_dir():
                raise UserError(f"--out {out}: {parent} is a file; choose another --out")
        return None
    if not out.is_dir():
        raise UserError(f"--out {out} is a file; choose another --out")
    if (out / NAME).exists():
        manifest = Manifest.load(out)
        other = _differing(manifest.summary.get("settings"), identity)
        if other:
            raise UserError(
                f"--out {out} holds data that was prepared otherwise ({other}); choose another --out, or delete it"
            )
        return manifest
    if (out / WORK / SETTINGS).exists():
        try:
            other = _differing(json.loads((out / WORK / SETTINGS).read_text()), identity)
        except (OSError, ValueError, RecursionError):
            other = "unreadable settings"
        if other:
            raise UserError(
                f"--out {out} holds an unfinished preparation of another kind ({other}); choose another --out, "
                "or delete it"
            )
    elif any(path.name != WORK for path in out.iterdir()):  # that alone: killed before it had written its settings
        raise UserError(f"--out {out} is not empty and holds no preparation of ours; choose another --out")
    return None


def check_finished(folder: Path) -> None:
    """UserError, with the command that goes on with it, for a preparation that was begun and not finished."""
    try:
        identity = json.loads((folder / WORK / SETTINGS).read_text())
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(identity, dict) and not (folder / NAME).exists():
        raise UserError(f"{folder}: this data is not finished; go on with it: {command(folder, identity)}")


@contextmanager
def working(out: Path, identity: Mapping[str, object]) -> Iterator[Path]:
    """Makes OUT/.work and hands it over. Removes it at the end, and everything else that was written when input is bad.

    What was done is kept when the work is cut otherwise, or the disk is full: the same call goes on with it.
    """
    there = out.exists()
    work = out / WORK
    try:
        for folder in ("plan", "progress", "tasks", "errors", "datatrove"):
            (work / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _of_disk(out, error) from error
    with locked(out, "prepare", f"{WORK}/lock"):
        if (out / NAME).exists():
            shutil.rmtree(work)
            raise Resumable(f"--out {out}: another prepare has just finished there; give the same command again")
        try:
            replace(work / SETTINGS, json.dumps(identity).encode())
            for stale in (work / STOP, *(work / "errors").iterdir(), *out.glob("*/.*.crc.*")):
                stale.unlink(missing_ok=True)
            yield work
        except Resumable:
            raise
        except KeyboardInterrupt:
            print(f"\nInterrupted. What is done is kept in {out}; the same command goes on with it.", file=sys.stderr)
            raise
        except UserError:
            _remove(out, keep_folder=there)
            raise
        except OSError as error:
            if error.errno in NO_SPACE:
                raise no_space(out) from error
            if error.errno not in REFUSED:
                raise
            where = error.filename or out
            raise Resumable(f"{where}: {error.strerror or error}; see to it and give the same command again") from error
        shutil.rmtree(work)


def _of_disk(out: Path, error: OSError) -> UserError:
    if error.errno in NO_SPACE:
        return no_space(out)
    return UserError(f"--out {out}: cannot be written ({error.strerror}); choose another --out")


def no_space(out: Path) -> Resumable:
    """A full disk, in one line."""
    return Resumable(
        f"{out}: no space left on this disk; free some and give the same command again, which goes on where it was cut"
    )


def _remove(out: Path, *, keep_folder: bool) -> None:
    for name in OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not keep_folder:
        out.rmdir()


def _differing(there: object, wanted: Mapping[str, object]) -> str:
    """The names of the settings that differ, as a person would say them; "" if none does."""
    if not isinstance(there, dict):
        return "its settings are not known"
    wanted = json.loads(json.dumps(wanted))
    names = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    return "other " + ", ".join(name.replace("_", " ") for name in names) if names else ""
