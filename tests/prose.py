"""Made-up documents that read like prose: what the tests prepare and train on."""

from pathlib import Path

import numpy as np

NOUNS = [
    "river",
    "stone",
    "harbour",
    "garden",
    "winter",
    "letter",
    "engine",
    "window",
    "mountain",
    "village",
    "captain",
]
VERBS = ["follows", "carries", "remembers", "crosses", "answers", "watches", "repairs", "forgets", "paints", "gathers"]
ADJECTIVES = ["silent", "yellow", "ancient", "narrow", "gentle", "broken", "distant", "hollow", "crimson", "patient"]
PLACES = ["behind", "beneath", "beside", "across", "towards", "against", "around", "within"]


def documents(count: int, seed: int = 0) -> list[str]:
    """Documents of four to eight sentences of eleven words each."""
    random = np.random.default_rng(seed)

    def sentence() -> str:
        noun, other, third = random.choice(NOUNS, 3)
        one, two, three = random.choice(ADJECTIVES, 3)
        return f"The {one} {noun} {random.choice(VERBS)} the {two} {other} {random.choice(PLACES)} a {three} {third}. "

    return ["".join(sentence() for _ in range(random.integers(4, 9))).strip() for _ in range(count)]


def write(path: Path, count: int, seed: int = 0) -> Path:
    """A plain text file, the documents separated by blank lines."""
    path.write_text("\n\n".join(documents(count, seed)) + "\n", encoding="utf-8")
    return path
