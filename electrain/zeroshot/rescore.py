"""N-best lists: the candidates of a line, sorted by how natural the model finds them."""

import json
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

from electrain.errors import UserError
from electrain.zeroshot.measures import Measure


def rescored(judge: Measure, lines: Sequence[str], name: str, before: int) -> list[dict[str, Any]]:
    """Of every line, the best first: {"candidates": [{"text", "score", "place"}, ...]}; none where it is blank.

    score    sum of the logarithms, not divided by the number of tokens
    place    in the list as it was given, from 0; of equal scores, the earlier one comes first
    What an object holds beside its candidates is given back with them. `before`: lines of `name` before these.
    """
    groups = [_group(line, f"{name}: line {number}") for number, line in enumerate(lines, start=before + 1)]
    texts = list(chain.from_iterable(candidates for _, candidates in groups))
    scores = judge.sums(texts).tolist()
    bounds = accumulate((len(candidates) for _, candidates in groups), initial=0)
    out = []
    for (rest, candidates), (a, b) in zip(groups, pairwise(bounds), strict=True):
        ranked = sorted(range(b - a), key=lambda place: -scores[a + place])
        made = [{"text": candidates[i], "score": round(scores[a + i], 6), "place": i} for i in ranked]
        out.append({**rest, "candidates": made})
    return out


def _group(line: str, where: str) -> tuple[dict[str, Any], list[str]]:
    """What a line holds beside its candidates, and these."""
    if not line.strip():
        return {}, []
    if not line.lstrip().startswith("{"):
        return {}, line.split("\t")
    try:
        held = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not valid JSON ({error}); mend it") from error
    candidates = held.pop("candidates", None)
    if not isinstance(candidates, list) or not all(isinstance(one, str) for one in candidates):
        raise UserError(f'{where}: holds no texts as "candidates"; write {{"candidates": ["one", "another"]}}')
    try:
        "".join(candidates).encode()
    except UnicodeEncodeError as error:  # an escape of half a character: valid JSON, but no text
        raise UserError(f"{where}: a candidate holds half a character ({error.reason}); mend it") from error
    try:
        json.dumps(held, ensure_ascii=False).encode()  # as it will be written
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: holds half a character beside its candidates ({error.reason}); mend it") from error
    return held, candidates
