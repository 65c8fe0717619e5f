"""`electrain similarity`: do cosines of sentence vectors follow people's scores, nothing trained?"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from rich.console import Console

from electrain import __version__
from electrain.errors import UserError
from electrain.escaping import printable
from electrain.files import write
from electrain.finetune.metrics import pearson, spearman
from electrain.tracking import say
from electrain.zeroshot.graded import read
from electrain.zeroshot.judged import counted, file_of, folder_of, model_of, title_of
from electrain.zeroshot.measures import place_of, room
from electrain.zeroshot.options import Similarity
from electrain.zeroshot.texts import distinct, encode
from electrain.zeroshot.vectors import cosines, vectors

if TYPE_CHECKING:
    from rich.table import Table

_METRICS = {"spearman": spearman, "pearson": pearson}


class Figure(NamedTuple):
    """A correlation, and the interval in which 95 per cent of the resamples lie."""

    value: float
    low: float
    high: float


def similarity(how: Similarity) -> list[Path]:
    """Judge a model by graded pairs, print the table on standard output; returns the file written.

    Texts longer than the encoder reads are cut. UserError for pairs that cannot be read, and a model that is none.
    """
    out = folder_of(how, "similarity")
    pairs = read(how.data, how.text, how.second, how.label)
    for note in pairs.notes:
        say(note)
    model = model_of(how)
    texts, inverse = distinct(encode(model.tokenizer, [*pairs.first, *pairs.second]))
    longest = room(model.encoder)
    cut = int((np.diff(texts.ends) > longest).sum())
    began = time.monotonic()
    with counted("reading") as (start, tick):
        start(len(texts.ends) - 1)
        place = place_of(how.device, how.dtype, tick)
        made = vectors(model.encoder.to(place.device), texts, model.vocab, longest, place)
    seconds = time.monotonic() - began
    if not all(np.isfinite(part).all() for part in made):
        raise UserError(f"{how.model}: gives vectors that are no numbers; choose another checkpoint")
    first, second = np.split(inverse, 2)
    said = {name: cosines(part[first], part[second]) for name, part in made._asdict().items()}
    found = {name: figures(values, pairs.scores, how.resamples) for name, values in said.items()}
    Console(highlight=False).print(table(found, f"{title_of(how, model)}: cosine and score"))
    more = f"; {cut:,} cut to {longest} tokens" if cut else ""
    say(f"{len(pairs.scores):,} pairs of {pairs.where}; {len(texts.ends) - 1:,} texts in {seconds:.1f} s{more}")
    about = {
        "model": how.model,
        "step": model.step,
        "untrained": how.untrained,
        "dtype": how.dtype,
        "data": pairs.where,
        "electrain": __version__,
        "pairs": len(pairs.scores),
        "cut": cut,
        "resamples": how.resamples,
    }
    each = {name: {metric: one._asdict() for metric, one in by.items()} for name, by in found.items()}
    name = file_of(how, "similarity")
    out.mkdir(parents=True, exist_ok=True)
    write(out / f"{name}.json", (json.dumps({**about, **each}, indent=1) + "\n").encode())
    return [out / f"{name}.json"]


def figures(said: Float[np.ndarray, " n"], gold: Float[np.ndarray, " n"], resamples: int) -> dict[str, Figure]:
    """Spearman's and Pearson's correlation, with percentile intervals over pairs drawn with replacement, seed 0."""
    random = np.random.default_rng(0)
    drawn = random.integers(len(gold), size=(resamples, len(gold)))
    made = {}
    for name, metric in _METRICS.items():
        low, high = np.percentile([metric(said[rows], gold[rows]) for rows in drawn], (2.5, 97.5))
        made[name] = Figure(metric(said, gold), float(low), float(high))
    return made


def table(found: dict[str, dict[str, Figure]], title: str) -> "Table":
    """A row a way to make vectors, a column a correlation."""
    from rich.table import Table
    from rich.text import Text

    out = Table("vectors", "Spearman", "95 %", "Pearson", "95 %", title=Text(printable(title)))
    for column in out.columns[1:]:
        column.justify = "right"
    for name, by in found.items():
        cells = [cell for one in by.values() for cell in (f"{one.value:.4f}", f"{one.low:.3f} to {one.high:.3f}")]
        out.add_row({"mean": "mean", "cls": "[CLS]"}[name], *cells)
    return out
