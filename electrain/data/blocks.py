"""Checksums of a token file, block by block, so that what training reads is checked as it is read.

Beside SPLIT/00000.ds lies SPLIT/00000.ds.crc: the 32 bytes of the token file's SHA-256, which bind it to the manifest,
and the CRC-32 of every 4,096 bytes of the token file, little-endian. A block is a page: the disk is asked for no more
than a row needs anyway, and a CRC-32 tells every run of up to 32 flipped bits.
"""

import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt32

from electrain.files import replace

SUFFIX = ".crc"
SIZE = 4096  # bytes of a block; the last one of a file may be shorter
_HEAD = 32
_PIECE = SIZE * 256


def summed(path: Path) -> tuple[str, UInt32[np.ndarray, " blocks"]]:
    """A file's SHA-256, and the CRC-32 of each of its blocks, in one pass."""
    whole, sums = hashlib.sha256(), []
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
            view = memoryview(piece)
            sums += [zlib.crc32(view[start : start + SIZE]) for start in range(0, len(piece), SIZE)]
    return whole.hexdigest(), np.array(sums, "<u4")


def save(path: Path, sha256: str, sums: UInt32[np.ndarray, " blocks"]) -> None:
    """Write the checksums beside the token file `path`, whole or not at all. OSError if the disk will not take them."""
    replace(path.with_name(path.name + SUFFIX), bytes.fromhex(sha256) + sums.tobytes())


def load(path: Path, sha256: str, size: int) -> UInt32[np.ndarray, " blocks"] | None:
    """The checksums of the token file `path` of `size` bytes, memory-mapped; None if there are none.

    ValueError, saying how, if they are not those of a file with this SHA-256.
    """
    beside = path.with_name(path.name + SUFFIX)
    count = -(-size // SIZE)
    try:
        with beside.open("rb") as file:
            if os.fstat(file.fileno()).st_size != _HEAD + 4 * count:
                raise ValueError(f"{beside}: damaged, not the checksums of a file of {size:,} bytes")
            if file.read(_HEAD).hex() != sha256:
                raise ValueError(f"{beside}: damaged, or of another file than the manifest's {path.name}")
            return np.asarray(np.memmap(file, "<u4", "r", _HEAD, (count,)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{beside}: cannot be read ({error.strerror})") from error


def damaged(content: memoryview, sums: UInt32[np.ndarray, " blocks"], blocks: Int64[np.ndarray, " n"]) -> int | None:
    """The first of these blocks of a file's content that is not what its checksum says, or None."""
    for block, wanted in zip(blocks.tolist(), sums[blocks].tolist(), strict=True):
        if zlib.crc32(content[block * SIZE : (block + 1) * SIZE]) != wanted:
            return block
    return None
