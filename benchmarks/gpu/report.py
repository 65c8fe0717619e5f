"""What a part knows so far, as JSON on disk; no torch, so that the conductor holds no device."""

import hashlib
import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any


class Report:
    """A part's JSON file, written whole whenever something more is known.

    What an earlier command wrote is gone on with if its stamp is the same. `done` says that nothing is left to do.
    """

    def __init__(self, path: Path, stamp: str):
        self.path = path
        known = read(path)
        self.content: dict[str, Any] = known if known.get("stamp") == stamp else {"stamp": stamp, "done": False}
        self.content.pop("failed", None)

    def add(self, **found: Any) -> None:
        """Write more of it."""
        self.content |= found
        write(self.path, self.content)


def write(path: Path, content: dict[str, Any]) -> None:
    """JSON, whole or not at all; numbers that are not finite are null."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")
    os.replace(beside, path)


def read(path: Path) -> dict[str, Any]:
    """What is there, or nothing."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stamp(root: Path, dry: bool) -> str:
    """Names the code and the GPU: figures of another code or another machine are not gone on with."""
    digest = hashlib.sha256(f"dry {dry}".encode())
    for path in sorted([*(root / "electrain").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]):
        digest.update(path.read_bytes())
    try:
        digest.update(subprocess.run(["nvidia-smi", "-L"], check=False, capture_output=True, timeout=30).stdout)
    except (OSError, subprocess.TimeoutExpired):
        digest.update(b"no nvidia-smi")
    return digest.hexdigest()[:16]


def last_line(path: Path) -> str:
    """The last line of a file that holds anything."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
