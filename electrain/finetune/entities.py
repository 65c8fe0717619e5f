"""Entities in sequences of tags, and how many of them were found: conlleval's rules.

Tags are O, or a letter and a kind, as in B-PER. Understood together, since no sequence means two things: IOB1 (B only
where two entities of a kind touch), IOB2 (B at each beginning), BIOES, BILOU and BMES.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OUTSIDE = "O"
_SAME = {"L": "E", "U": "S", "M": "I"}  # BILOU's and BMES' letters
_FORM = re.compile(r"([BIESLUM])(?:-(.*))?")


class Entity(NamedTuple):
    """A kind, and the words from `start` to before `end`."""

    kind: str
    start: int
    end: int


def parse(tag: str) -> tuple[str, str]:
    """A tag's letter (O, B, I, E or S) and kind. ValueError if it has no such form."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    found = _FORM.fullmatch(tag)
    if found is None:
        raise ValueError(tag)
    return _SAME.get(found[1], found[1]), found[2] or ""


def chunked(tags: Iterable[str]) -> bool:
    """Whether tags mark entities, rather than a class a word, such as parts of speech."""
    return all(tag == OUTSIDE or _FORM.fullmatch(tag) for tag in tags)


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of a sentence.

    One begins at B and S, after O, E and S, and wherever the kind changes; it ends before the next begins, or at O.
    (So I-PER after O begins an entity, in IOB1 rightly, elsewhere as conlleval forgives it.)
    """
    found, start, before = set(), 0, (OUTSIDE, "")
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, kind = parse(tag)
        begins = letter in "BS" or before[0] in "OES" or kind != before[1]
        if before[0] != OUTSIDE and (letter == OUTSIDE or begins):
            found.add(Entity(before[1], start, place))
        if letter != OUTSIDE and begins:
            start = place
        before = letter, kind
    return found


class Found(NamedTuple):
    """Shares over all sentences together: of the entities said that are right, of those there that were found, the
    harmonic mean; 0 where there are none to count. `accuracy` is of words.
    """

    precision: float
    recall: float
    f1: float
    accuracy: float


def judge(said: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Found:
    """Compare tags; an entity is right if its kind and both its ends are."""
    right = claimed = there = 0
    for ours, theirs in zip(said, gold, strict=True):
        mine, true = entities(ours), entities(theirs)
        right, claimed, there = right + len(mine & true), claimed + len(mine), there + len(true)
    precision, recall = right / max(1, claimed), right / max(1, there)
    f1 = 2 * right / max(1, claimed + there)
    return Found(precision, recall, f1, word_accuracy(said, gold))


def word_accuracy(said: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    """Share of the words whose tag is right."""
    same = sum(a == b for ours, theirs in zip(said, gold, strict=True) for a, b in zip(ours, theirs, strict=True))
    return same / max(1, sum(map(len, gold)))
