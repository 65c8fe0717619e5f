"""Long series drawn with few points: real ones, and no spike is lost."""

import numpy as np
from jaxtyping import Float, Int

MOST = 1000  # points of a curve: about those that a screen can show apart


def thinned(values: Float[np.ndarray, " n"], most: int = MOST) -> Int[np.ndarray, " m"]:
    """Which of the values to draw, ascending: all, or the first, the last, and the lowest and highest of each stretch.

    A stretch in which nothing is a number keeps one place, so that the gap shows.
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2).astype(np.int64)
    kept = {0, len(values) - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        there = np.flatnonzero(np.isfinite(part))
        if len(there) == 0:
            kept.add(start)
        else:
            kept |= {start + int(there[part[there].argmin()]), start + int(there[part[there].argmax()])}
    return np.array(sorted(kept))
