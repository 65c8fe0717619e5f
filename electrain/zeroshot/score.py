"""`electrain score`: which words of a text look replaced; or which of several candidates is the most natural."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from electrain.data.tokenizer import bare
from electrain.errors import UserError
from electrain.hub.opened import opened
from electrain.zeroshot.lines import chunks
from electrain.zeroshot.measures import Measure, measure
from electrain.zeroshot.options import Score
from electrain.zeroshot.rescore import rescored
from electrain.zeroshot.texts import joined

if TYPE_CHECKING:
    from tokenizers import Encoding


def score(how: Score) -> None:
    """Read lines, write a line of JSON for each on standard output, in order, as soon as it is made (`judged`).

    UserError for a model that cannot judge as asked, a file that is empty or cannot be read, and a line that is
    damaged; what was made of the lines before it has been written.
    """
    if not 0 <= how.threshold <= 1:
        raise UserError(f"--threshold {how.threshold}: it is a probability, from 0 to 1")
    if not how.rescore and how.by not in ("auto", "rtd"):
        raise UserError(f"--by {how.by}: words are judged by rtd; it is for candidates (--rescore True)")
    model = opened(how.model, how.checkpoint)
    by = how.by if how.rescore else "rtd"
    judge = measure(model, by, how.generator, how.rate, how.device, how.dtype, lambda _: None)
    name, number = "standard input" if how.file == "-" else how.file, 0
    for lines in chunks(how.file):
        made = rescored(judge, lines, name, number) if how.rescore else judged(judge, lines, how.threshold)
        number += len(lines)
        for one in made:
            sys.stdout.buffer.write(json.dumps(one, ensure_ascii=False).encode() + b"\n")
        sys.stdout.buffer.flush()
    if not number and how.file != "-":  # of a pipe, nothing in is nothing out
        raise UserError(f"{name}: the file is empty; give one with a text a line")


def judged(judge: Measure, texts: Sequence[str], threshold: float) -> Iterator[dict[str, Any]]:
    """Of every text: {"text", "score", "tokens", "words"}; without tokens where it is blank.

    score    sum of log P(original) over the tokens
    tokens   {"token", "start", "end", "replaced"}: characters start to end - 1 of the text, and the probability that
             something else stood there
    words    {"word", "start", "end", "replaced", "suspicious"}: the tokenizer's words, with the largest probability of
             their tokens, and whether it reaches the threshold
    """
    core = bare(judge.model.tokenizer, plain=True)
    encodings = core.encode_batch(list(texts), add_special_tokens=False)
    encoded = joined(encodings)
    logs = judge.tokens(encoded)
    for text, encoding, a, b in zip(texts, encodings, encoded.ends[:-1], encoded.ends[1:], strict=True):
        tokens = list(_tokens(text, encoding, -np.expm1(logs[a:b])))
        words: dict[object, dict[str, Any]] = {}
        for token, of in zip(tokens, encoding.word_ids, strict=True):
            start, end, replaced = token["start"], token["end"], token["replaced"]
            word = words.setdefault(of, {"word": "", "start": start, "end": end, "replaced": replaced})
            word |= {"end": max(end, word["end"]), "replaced": max(replaced, word["replaced"])}
        for word in words.values():
            word |= {"word": text[word["start"] : word["end"]], "suspicious": word["replaced"] >= threshold}
        yield {"text": text, "score": round(float(logs[a:b].sum()), 6), "tokens": tokens, "words": list(words.values())}


def _tokens(text: str, encoding: "Encoding", replaced: Float[np.ndarray, " n"]) -> Iterator[dict[str, Any]]:
    for name, (start, end), share in zip(encoding.tokens, encoding.offsets, replaced.tolist(), strict=True):
        begin = start
        while begin < end - 1 and text[begin].isspace():  # tokenizers of bytes count the blank before a word to it
            begin += 1
        yield {"token": name, "start": begin, "end": end, "replaced": round(share, 6)}
