"""Texts to begin with: held-out rows of a run's own data where they lie here, otherwise sentences."""

from pathlib import Path

import numpy as np

from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.inspect.shelf import Shown
from electrain.run import Record
from electrain.start import digest

COUNT = 12
TOKENS = 64
SENTENCES = (
    "The chef cooked the meal, and the guests ate it before the soup had time to get cold.",
    "She opened the window because the room was much too warm, and closed it again when the rain began.",
    "The function returns a list of the files in the folder, sorted by the date of their last change.",
    "In 1969 two people walked on the moon for the first time, while a third waited for them in orbit.",
    "If the train is late again, we will have to wait for an hour on the platform, as we did last week.",
)


def examples(place: str, shown: Shown) -> tuple[list[str], str]:
    """Texts, and where they are from."""
    texts = held_out(place, shown)
    return (texts, "held-out text of its data") if texts else (list(SENTENCES), "sentences, no data of the run is here")


def held_out(place: str, shown: Shown) -> list[str]:
    """Evenly spaced pieces of the data that a run was judged on; none where they are not here, or have changed."""
    try:
        record = Record.load(Path(place).expanduser())
        shards = Shards.open(Path(record.data), "validation")
        if digest(shards) != record.data_sha256 or shards.tokens < TOKENS:
            return []
        starts = np.linspace(0, shards.tokens - TOKENS, COUNT).astype(np.int64)
        rows = shards.gather(starts, TOKENS).astype(np.int64).tolist()
    except (UserError, OSError):
        return []
    decode = shown.reader.core.decode
    texts = [decode(_piece(row, shards.vocab.sep), skip_special_tokens=False).strip() for row in rows]
    return list(dict.fromkeys(text for text in texts if text))


def _piece(row: list[int], sep: int) -> list[int]:
    """The longest part of a row that lies in one document."""
    parts: list[list[int]] = [[]]
    for number in row:
        if number == sep:
            parts.append([])
        else:
            parts[-1].append(number)
    return max(parts, key=len)
