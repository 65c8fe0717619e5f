"""How often each token occurs in the training data: frequencies.npy, written by `prepare`."""

import zipfile
from pathlib import Path
from tokenize import TokenError

import numpy as np
from jaxtyping import Int64

from electrain.data.manifest import Manifest
from electrain.errors import UserError, reason
from electrain.files import inside

NAME = "frequencies.npy"


def load(data_dir: str | Path) -> Int64[np.ndarray, " v"]:
    """Counts by token id. UserError if the file is missing, damaged, or not of the data's vocabulary.

    An array of Python objects is a pickle, and is refused.
    """
    path, manifest = inside(Path(data_dir), NAME), Manifest.load(data_dir)
    manifest.check(data_dir, NAME, manifest.frequencies_sha256)
    size = manifest.vocab.size
    try:
        # Mapped: what the header claims is held against the file's size before any memory is asked for.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, TokenError, SyntaxError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); run electrain prepare again") from error
    if not isinstance(found, np.ndarray) or found.shape != (size,) or found.dtype.kind != "i" or found.min() < 0:
        raise UserError(f"{path}: damaged, not a count for each of {size} tokens; run electrain prepare again")
    return np.array(found, np.int64)
