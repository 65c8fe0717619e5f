"""What the page shows of a text: each model's view of it as it stands, and of it corrupted."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from electrain.inspect import cells, render
from electrain.inspect.corrupt import Damaged, How, damaged
from electrain.inspect.line import Line
from electrain.inspect.shelf import Choice, Shown
from electrain.inspect.verdict import Kind, kind_of, most, verdict

WHAT: dict[Kind, str] = {
    "replaced": "discriminator: the probability that something else stood there",
    "surprise": "no discriminator here; shown instead is the masked language model's surprise, in bits",
    "energy": "Electric: no probability but an energy; the higher, the less natural",
}
UNIT: dict[Kind, str] = {"replaced": "%", "surprise": " bits", "energy": ""}
Side = tuple[Choice, Shown]


class Source(NamedTuple):
    """A corrupted line, and by which side's generator."""

    side: int
    line: Line
    sampled: Line
    made: Damaged


def name(side: Side) -> str:
    """A side's heading."""
    choice, shown = side
    return choice.place if shown.model.step is None else f"{choice.place}, step {shown.model.step:,}"


def as_it_stands(sides: list[Side], text: str, numbers: bool) -> str:
    """The text as each side sees it."""
    if not text.strip():
        return render.paragraph("No text: type one, or load an example.", note=True)
    return render.sides([render.heading(name(side)) + _view(side, text, numbers) for side in sides])


def _view(side: Side, text: str, numbers: bool) -> str:
    line, notes = taken(side[1], text)
    return notes + _verdict(side[1], line, numbers)


def taken(shown: Shown, text: str) -> tuple[Line, str]:
    """The text as the side's tokenizer has it, cut where it is too long; and notes about that."""
    model, whole = shown.model, shown.reader.read(text)
    line, said = shown.reader.cut(whole, most(model)), []
    if len(line.tokens) < len(whole.tokens):
        said.append(f"cut: the first {len(line.tokens):,} of {len(whole.tokens):,} tokens are shown")
    if unknown := sum(token.id == _unknown(shown) for token in line.tokens):
        said.append(f"unknown to the tokenizer: {unknown} of {len(line.tokens)} tokens")
    if not line.tokens:
        said.append("the tokenizer finds no token in this text")
    return line, "".join(render.paragraph(note, note=True) for note in said)


def _unknown(shown: Shown) -> int:
    vocab = shown.model.vocab  # where there is no [UNK], it is [MASK], which no text holds
    return vocab.unk


def _verdict(shown: Shown, line: Line, numbers: bool, replaced: Bool[np.ndarray, " n"] | None = None) -> str:
    kind = kind_of(shown.model)
    if kind is None:
        return render.paragraph("This model has neither discriminator nor masked language model.", note=True)
    made = verdict(shown.model, line)
    assert made is not None
    out = render.paragraph(WHAT[kind], note=kind != "replaced")
    if made.windows > 1:
        out += render.paragraph(f"longer than the model: read in {made.windows} overlapping windows", note=True)
    found = cells.judged(line, made, _unknown(shown), replaced)
    used = {sign for cell in found for sign in cell.signs}
    out += render.line(found, numbers)
    if replaced is None:
        return out + render.suspects(found, UNIT[kind]) + render.legend(used)
    return out + render.paragraph(outcome(kind, made.values, replaced)) + render.legend(used)


def outcome(kind: Kind, values: np.ndarray, replaced: Bool[np.ndarray, " n"]) -> str:
    """How many of the replaced tokens were noticed."""
    count, total = int(replaced.sum()), len(replaced)
    if not count:
        return "Nothing was replaced: every sample is the text's own token."
    worst = np.argsort(-values, kind="stable")[:count]
    ranked = f"among the {count} most suspicious tokens: {int(replaced[worst].sum())} replaced"
    if kind != "replaced":
        return f"{count} of {total} tokens are replaced; {ranked}."
    suspect = values >= cells.SUSPECT
    return (
        f"{count} of {total} tokens are replaced: {int((suspect & replaced).sum())} noticed (50 % or more), "
        f"{int((~suspect & replaced).sum())} missed; {int((suspect & ~replaced).sum())} of {total - count} originals "
        f"suspected too; {ranked}."
    )


def corrupted(sides: list[Side], text: str, how: How, by: int | None, numbers: bool) -> str:
    """The text masked and sampled, and each side's view of the sampled text.

    by: whose generator corrupts for all, or None for each its own
    """
    if not text.strip():
        return ""
    if by is None:
        parts = []
        for number, side in enumerate(sides):
            shown = side[1]
            source = _source(number, shown, text, how)
            steps = _steps(shown, source) if source is not None else _lacking("This model")
            parts.append(render.heading(name(side)) + steps + _after(number, shown, source, numbers))
        return render.sides(parts)
    source = _source(by, sides[by][1], text, how)
    if source is None:
        return _lacking(name(sides[by]))
    views = [render.heading(name(side)) + _after(at, side[1], source, numbers) for at, side in enumerate(sides)]
    return _steps(sides[by][1], source) + render.sides(views)


def _lacking(whose: str) -> str:
    said = f"{whose} has no generator here, so nothing can be masked and sampled; name one with --generator."
    return render.paragraph(said, note=True)


def _source(number: int, shown: Shown, text: str, how: How) -> Source | None:
    if shown.lm is None:
        return None
    line = taken(shown, text)[0]
    made = damaged(shown.lm, shown.model.vocab, line.ids, replace(how, masked=shown.masked))
    return Source(number, line, shown.reader.changed(line, made.sampled.tolist()), made)


def _after(number: int, shown: Shown, source: Source | None, numbers: bool) -> str:
    """What a side makes of a sampled text."""
    if source is None:
        return ""
    title = render.heading("its view of the sampled text", 4)
    if source.side == number:
        return title + _verdict(shown, source.sampled, numbers, source.made.sampled != source.line.ids)
    # Another tokenizer may cut the same characters otherwise: a token that shares one with a replaced token is one.
    line, notes = taken(shown, source.sampled.text)
    marks = _characters(source.sampled, source.made.sampled != source.line.ids)
    replaced = np.array([marks[a:b].any() for a, b in _spans(line)], bool)
    return title + notes + _verdict(shown, line, numbers, replaced)


def _steps(shown: Shown, source: Source) -> str:
    line, made = source.line, source.made
    mask = made.masked == shown.model.vocab.mask
    about = [
        f": selected; the generator gave it {100 * share:.2g} %" if picked else ""
        for picked, share in zip(made.picked, made.original, strict=True)
    ]
    chosen = [
        ("picked" if hidden else "kept") if picked else "" for picked, hidden in zip(made.picked, mask, strict=True)
    ]
    masked = shown.reader.changed(line, made.masked.tolist())
    right = made.sampled == line.ids
    drawn = [("right" if same else "new") if picked else "" for picked, same in zip(made.picked, right, strict=True)]
    said = [
        f": was {token.shown or token.name}; the generator gave this {100 * share:.2g} %, that {100 * own:.2g} %"
        if picked
        else ""
        for token, picked, share, own in zip(line.tokens, made.picked, made.chance, made.original, strict=True)
    ]
    hidden = ["mask" if picked and here else sign for picked, here, sign in zip(made.picked, mask, chosen, strict=True)]
    shown_steps = (
        (f"original, {int(made.picked.sum())} of {len(line.tokens)} tokens selected", line, chosen, about),
        ("masked: what the generator reads", masked, hidden, about),
        (f"sampled: {int((made.picked & right).sum())} came out as they were", source.sampled, drawn, said),
    )
    used = {*chosen, *hidden, *drawn}
    steps = (
        render.heading(title, 4) + render.line(cells.plain(here, signs, words))
        for title, here, signs, words in shown_steps
    )
    return f'<div class="el-steps">{"".join(steps)}{render.legend(used)}</div>'


def _spans(line: Line) -> list[tuple[int, int]]:
    """First character of every token, and the one after its last, in the line's text."""
    spans, at = [], 0
    for token in line.tokens:
        at += len(token.gap)
        spans.append((at, at + len(token.shown)))
        at += len(token.shown)
    return spans


def _characters(line: Line, flags: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " c"]:
    """Flags of tokens as flags of the characters of the line's text."""
    marks = np.zeros(len(line.text), bool)
    for (start, end), flag in zip(_spans(line), flags, strict=True):
        marks[start:end] |= flag
    return marks
