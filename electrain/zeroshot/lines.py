"""Lines of a file or of standard input, as they come in."""

import sys
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import cast

from electrain.errors import UserError

AT_ONCE = 1 << 18  # bytes


def chunks(source: str) -> Iterator[list[str]]:
    """The lines without their ends, one after another, as many at a time as were waiting (some 256 KiB at most).

    source: a file, or - for standard input
    Whoever writes a line to a pipe and waits for the answer gets it. UserError, after the lines before it, for a line
    that is not UTF-8, with its number.
    """
    if source == "-":
        yield from _chunks(cast(BufferedIOBase, sys.stdin.buffer), "standard input")
        return
    path = Path(source).expanduser()
    try:
        with path.open("rb") as file:
            yield from _chunks(file, source)
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror}); check the path") from error


def _chunks(file: BufferedIOBase, name: str) -> Iterator[list[str]]:
    number, rest = 0, [b""]
    # `read1` waits until there is something, and not until there is as much as asked for.
    while more := file.read1(AT_ONCE):
        if b"\n" not in more:  # kept in parts: added to a bytes, a line without end would be copied again and again
            rest.append(more)
            continue
        *whole, last = b"".join([*rest, more]).split(b"\n")
        rest = [last]
        yield from _decoded(whole, name, number)
        number += len(whole)
    if tail := b"".join(rest):
        yield from _decoded([tail], name, number)


def _decoded(raw: list[bytes], name: str, before: int) -> Iterator[list[str]]:
    out: list[str] = []
    for number, line in enumerate(raw, start=before + 1):
        try:
            out.append(line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r"))
        except UnicodeDecodeError as error:
            yield out
            raise UserError(
                f"{name}: line {number} is not UTF-8 (byte {error.start + 1} of it is 0x{line[error.start]:02x}); "
                "convert it to UTF-8"
            ) from error
    yield out
