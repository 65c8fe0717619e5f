"""Held-out sentences at three moments of training, token by token, from samples.jsonl."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from electrain.report.history import History
from electrain.report.styles import style, swatch
from electrain.report.tags import Html, join, tag
from electrain.samples import FILE

# A token's shade goes by the first of these probabilities that it does not reach. Most tokens are original, so the
# steps are finer where most probabilities are.
SHADES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
_HALF = 0.5
_OPEN = 2  # runs whose sentences are unfolded from the start
_FIELDS = ("text", "read", "picked", "suspicion", "guess")


def sentences(runs: list[History]) -> Html | None:
    """What every run made of its held-out rows; None where no run has recorded any."""
    parts = [part for number, run in enumerate(runs) if (part := _run(run, number, len(runs) > 1)) is not None]
    if not parts:
        return None
    judged = any("data-judged" in part for part in parts)
    return tag(
        "section",
        tag("h2", "Held-out sentences"),
        _key() if judged else None,
        *parts,
        class_="sentences",
    )


def looks(folder: Path) -> list[dict[str, Any]]:
    """The lines of samples.jsonl that are whole and fit together, by step."""
    try:
        texts = (folder / FILE).read_bytes().split(b"\n")
    except OSError:  # a run of an earlier version has none
        return []
    found: dict[int, dict[str, Any]] = {}
    for words in texts:
        try:
            line = json.loads(words)
            if type(line["step"]) is int and line["rows"] and all(_fits(row) for row in line["rows"]):
                found[line["step"]] = line
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return [found[step] for step in sorted(found)]


def moments(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first line, the one nearest to the middle between it and the last, the last; each once."""
    if not lines:
        return []
    middle = (lines[0]["step"] + lines[-1]["step"]) / 2
    chosen = [lines[0], min(lines, key=lambda line: abs(line["step"] - middle)), lines[-1]]
    return [line for place, line in enumerate(chosen) if line not in chosen[:place]]


def _fits(row: Any) -> bool:
    """Whether a row has the fields that `samples.looking` describes, of lengths that fit."""
    text, read, picked, suspicion, guess = (row[name] for name in _FIELDS)
    size = len(text)
    numbers = [*text, *read, *picked, *(guess or [])]
    return (
        len(read) == size
        and all(type(number) is int and number >= 0 for number in numbers)
        and all(place < size for place in picked)
        and (guess is None or len(guess) == len(picked))
        and (suspicion is None or len(suspicion) == size)
        and all(share is None or (isinstance(share, float | int) and 0 <= share <= 1) for share in suspicion or [])
    )


def _run(run: History, number: int, several: bool) -> Html | None:
    chosen = moments(looks(run.folder))
    if not chosen:
        return None
    spell = _speller(run.folder / "tokenizer" / "tokenizer.json")
    judged = any(row["suspicion"] is not None for line in chosen for row in line["rows"])
    guessed = any(row["guess"] is not None for line in chosen for row in line["rows"])
    about = (
        "Above a token that was replaced stands the text's own." if judged or not guessed else
        "At the places that were selected stands what the model finds likeliest, above it the text's own token; "
        "✓ where they are the same."
    )  # fmt: skip
    parts = []
    for place in range(min(len(line["rows"]) for line in chosen)):
        lines = []
        for line in chosen:
            row = line["rows"][place]
            lines += [tag("dt", f"step {line['step']:,}"), tag("dd", _row(row, spell), tag("small", _score(row)))]
        parts.append(tag("dl", *lines, class_="moments"))
    inner = tag("div", tag("p", about, class_="soft"), *parts, data_judged=judged)
    if not several:
        return inner
    return tag("details", tag("summary", swatch(style(number)), " ", tag("b", run.name)), inner, open=number < _OPEN)


def _row(row: dict[str, Any], spell: "_Speller") -> Html:
    """A row as a line of tokens."""
    guesses = dict(zip(row["picked"], row["guess"], strict=True)) if row["guess"] is not None else {}
    tokens = []
    for place, (text, read) in enumerate(zip(row["text"], row["read"], strict=True)):
        share = None if row["suspicion"] is None else row["suspicion"][place]
        shown = guesses.get(place, read)
        glued, word = spell(shown)
        classes, said = ["tok"], []
        if share is not None:
            classes.append(f"p{sum(share >= step for step in SHADES)}")
            classes += ["sure"] if share >= _HALF else []
            said.append(f"replaced with {share:.1%}")
        if place in guesses:
            right = shown == text
            classes.append("right" if right else "wrong")
            said.append("the text's own" if right else f"the text has {spell(text)[1]}")
            said.append("read as it is" if read == text else f"read as {spell(read)[1]}")
        elif read != text:
            classes.append("swap")
            said.append(f"in place of {spell(text)[1]}")
        above = read != text if not guesses else place in guesses and shown != text
        inner = tag("ruby", word, tag("rt", spell(text)[1])) if above else join(word)
        mark = join("✓") if "right" in classes else None
        title = f"{word}: {', '.join(said)}" if said else None
        tokens += ["" if glued or place == 0 else " ", tag("span", inner, mark, class_=" ".join(classes), title=title)]
    return tag("p", *tokens, class_="tokens")


def _score(row: dict[str, Any]) -> str:
    """How many of the replaced tokens, or of the selected places, came out right."""
    if row["guess"] is not None:
        right = sum(row["text"][place] == guess for place, guess in zip(row["picked"], row["guess"], strict=True))
        return f"{right} of {len(row['picked'])} right"
    swapped = [place for place, (text, read) in enumerate(zip(row["text"], row["read"], strict=True)) if text != read]
    if row["suspicion"] is None:
        return f"{len(swapped)} replaced"
    sure = [place for place, share in enumerate(row["suspicion"]) if share is not None and share >= _HALF]
    found = len(set(sure) & set(swapped))
    return f"{found} of {len(swapped)} replaced tokens found, {len(sure) - found} false alarms"


def _key() -> Html:
    ends = ["0 %", *(f"{100 * step:g} %" for step in SHADES)]
    samples = [tag("span", f"{low}", class_=f"key tok p{shade}{' sure' if shade > SHADES.index(_HALF) else ''}")
               for shade, low in enumerate(ends)]  # fmt: skip
    return tag(
        "p", "The discriminator's probability that a token was replaced, from ", *_spaced(samples),
        "; in brackets from one half. Underlined: really replaced. Point at a token, or touch it, for its number.",
        class_="soft",
    )  # fmt: skip


def _spaced(parts: list[Html]) -> list[Html | str]:
    return [piece for part in parts for piece in (part, " ")][:-1]


class _Speller:
    """Tokens as people read them: (whether it continues the word before, how it is written)."""

    def __init__(self, tokens: dict[int, str], tokenizer: Any):
        self.tokens, self.tokenizer = tokens, tokenizer
        self.pieces = any(token.startswith("##") for token in tokens.values())

    def __call__(self, number: int) -> tuple[bool, str]:
        token = self.tokens.get(number)
        if token is None:
            return False, f"#{number}"
        if token.startswith("##") and len(token) > 2:
            return True, token[2:]
        if self.pieces or self.tokenizer is None or (token[:1] == "[" and token[-1:] == "]"):
            return False, token
        words = self.tokenizer.decode([number], skip_special_tokens=False) or token
        begins = words[:1].isspace() or token[:1] in "Ġ▁"
        return not begins, words.strip() or "␣"


@lru_cache(maxsize=32)
def _speller(path: Path) -> _Speller:
    """By the run's tokenizer; numbers where it cannot be read."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of native code
            raise
        return _Speller({}, None)
    words = tokenizer.get_vocab(with_added_tokens=True)
    return _Speller({number: token for token, number in words.items()}, tokenizer if tokenizer.decoder else None)
