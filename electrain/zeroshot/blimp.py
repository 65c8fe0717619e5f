"""`electrain blimp`: which sentence of a minimal pair does the model find more natural?"""

import time
from pathlib import Path

from rich.console import Console

from electrain import __version__
from electrain.tracking import say
from electrain.zeroshot.judged import counted, file_of, folder_of, model_of, title_of
from electrain.zeroshot.measures import measure
from electrain.zeroshot.options import Blimp
from electrain.zeroshot.pairs import PARADIGMS, read
from electrain.zeroshot.results import results, save, save_pairs, table


def blimp(how: Blimp) -> list[Path]:
    """Judge a model by minimal pairs, print the table on standard output; returns the files written.

    A sentence's score is a sum over its tokens, not divided by their number; the pair is decided for the higher one, a
    tie counts half. UserError for pairs that cannot be read, and a model that cannot judge as asked.
    """
    out = folder_of(how, "blimp")
    paradigms = read(how.data)
    there = {paradigm.uid for paradigm in paradigms}
    if missing := sorted(PARADIGMS - there):
        say(
            f"{how.data}: {len(PARADIGMS & there)} of BLiMP's {len(PARADIGMS)} paradigms; missing: {', '.join(missing)}"
        )
    if more := sorted(there - PARADIGMS):
        say(f"{how.data}: {len(more)} paradigms that are not BLiMP's: {', '.join(more)}")
    model = model_of(how)
    sentences = [sentence for paradigm in paradigms for pair in paradigm.pairs for sentence in pair]
    began = time.monotonic()
    with counted("scoring") as (start, tick):
        judge = measure(model, how.by, how.generator, how.rate, how.device, how.dtype, tick)
        texts = judge.encode(sentences)
        start(len(sentences) if judge.by in ("rtd", "energy") else len(texts.ids))
        scores = judge.sums(sentences, encoded=texts).reshape(-1, 2)
    made = results(paradigms, scores)
    seconds = time.monotonic() - began
    about: dict[str, object] = {
        "model": how.model,
        "step": model.step,
        "untrained": how.untrained,
        "by": judge.by,
        "generator": how.generator,
        "rate": judge.rate if judge.by == "both" else None,
        "dtype": how.dtype,
        "data": how.data,
        "electrain": __version__,
    }
    console = Console(highlight=False)
    console.print(table(made, f"{title_of(how, model)}, by {judge.by}: accuracy, per cent"))
    say(f"{len(scores):,} pairs in {seconds:.1f} s: {len(scores) / seconds:,.0f} a second")
    name = file_of(how, judge.by)
    out.mkdir(parents=True, exist_ok=True)
    files = save(made, about, out, name)
    return [*files, save_pairs(paradigms, scores, out / f"{name}-pairs.jsonl")] if how.pairs else files
