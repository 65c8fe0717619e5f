"""What the page says about a text: escaped, complete, and right about what was noticed."""

import re
from html.parser import HTMLParser
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from transformers import BertTokenizerFast, ElectraConfig, ElectraForPreTraining

from electrain.inspect import views
from electrain.inspect.corrupt import How
from electrain.inspect.shelf import Choice, Shelf
from tests.zeroshot.conftest import SIZES, saved

EVIL = "<script>alert(1)</script> <img src=x onerror=alert(1)> \"' & ${alert(1)} {{value}} \x1b[2J \u202e cat"


class Seen(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def side(place: str, shelf: Shelf | None = None) -> views.Side:
    choice = Choice(place)
    return choice, (shelf or Shelf()).take(choice)


def test_a_text_stays_text(discriminator: str, generator: str) -> None:
    shelf = Shelf(generator)
    pages = [
        views.as_it_stands([side(discriminator, shelf)], EVIL, True),
        views.corrupted([side(discriminator, shelf)], EVIL, How(rate=0.5, temperature=2.0), 0, True),
    ]
    for page in pages:
        seen = Seen(page)
        assert {tag for tag, _ in seen.tags} <= {"div", "section", "h3", "h4", "p", "b", "sup", "sub", "span", "strong"}
        for _, attributes in seen.tags:
            assert set(attributes) <= {"class", "title", "style", "dir"}
            assert re.fullmatch(r"--p:[01]\.\d{3}", attributes.get("style") or "--p:0.000")
        assert "\x1b" not in page and "\u202e" not in page
        assert "\\x1b" in seen.text and "\\u202e" in seen.text
    bare = Seen(views.as_it_stands([side(discriminator)], EVIL, False)).text
    assert "<script>alert(1)</script>" in bare.replace("▲", "") and "unknown to the tokenizer" in bare


def test_empty_long_and_strange(discriminator: str, generator: str) -> None:
    sides = [side(discriminator, Shelf(generator))]
    for text in ("", " \n\t"):
        assert (
            "No text" in views.as_it_stands(sides, text, False) and views.corrupted(sides, text, How(), 0, False) == ""
        )
    assert "windows" in views.as_it_stands(sides, "the cat sat " * 30, False)
    long = views.as_it_stands(sides, "the cat " * 3000, False)
    assert "cut: the first 4,096 of 6,000 tokens" in long
    strange = views.as_it_stands(sides, "кот 🐈 猫 the cat", True)
    assert "unknown to the tokenizer: 3 of 5 tokens" in strange and "🐈" in strange
    assert "finds no token" in views.as_it_stands(sides, "\x00\ufffd", False)
    assert "finds no token" not in long


def test_models_that_lack_something(discriminator: str, generator: str, bert: str) -> None:
    text = "the cat sat on the mat and the dog ran"
    alone = views.corrupted([side(discriminator)], text, How(), 0, False)
    assert "no generator" in alone and "--generator" in alone and "[MASK]" not in alone
    for place in (generator, bert):
        page = views.as_it_stands([side(place)], text, False)
        assert "no discriminator" in page and "bits" in page
        assert "sampled" in views.corrupted([side(place)], text, How(), 0, False)
    both = [side(discriminator), side(generator)]
    own = Seen(views.corrupted(both, text, How(rate=0.5), None, False)).text
    assert own.count("no generator") == 1 and own.count("masked: what the generator reads") == 1
    other = Seen(views.corrupted(both, text, How(rate=0.5), 1, False)).text
    assert "no generator" not in other and other.count("masked: what the generator reads") == 1
    assert other.count("its view of the sampled text") == 2


def test_what_was_noticed() -> None:
    values = np.array([0.9, 0.2, 0.6, 0.1, 0.55, 0.05])
    replaced = np.array([True, True, False, False, True, False])
    assert views.outcome("replaced", values, replaced) == (
        "3 of 6 tokens are replaced: 2 noticed (50 % or more), 1 missed; 1 of 3 originals suspected too; "
        "among the 3 most suspicious tokens: 2 replaced."
    )
    assert views.outcome("surprise", values, replaced).startswith("3 of 6 tokens are replaced; among the 3")
    assert "Nothing was replaced" in views.outcome("replaced", values, replaced & False)


def test_another_tokenizer_reads_the_sampled_text(discriminator: str, generator: str, tmp_path: Path) -> None:
    """The second reads letters: every letter of a replaced word counts as replaced, and no other."""
    letters = saved(
        ElectraForPreTraining(
            ElectraConfig(embedding_size=16, **SIZES | {"max_position_embeddings": 64, "vocab_size": 57})
        ),
        tmp_path / "x",
    )
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase, *(f"##{x}" for x in ascii_lowercase)]
    BertTokenizerFast(vocab={name: number for number, name in enumerate(names)}).save_pretrained(letters)
    sides = [side(discriminator, Shelf(generator)), side(letters)]
    how, text = How(rate=0.3, temperature=1.5, seed=4), "the cat sat on a mat and the dog ran to the house"
    source = views._source(0, sides[0][1], text, how)
    assert source is not None
    changed = [new for new, old in zip(source.sampled.tokens, source.line.tokens, strict=True) if new.id != old.id]
    assert 2 <= len(changed) <= 5
    line, _ = views.taken(sides[1][1], source.sampled.text)
    marks = views._characters(source.sampled, source.made.sampled != source.line.ids)
    assert marks.sum() == sum(len(word.shown) for word in changed)
    replaced = [marks[a:b].any() for a, b in views._spans(line)]
    page = Seen(views.corrupted(sides, text, how, 0, False))
    assert f"{sum(replaced)} of {len(line.tokens)} tokens are replaced" in page.text
    assert f"{len(changed)} of {len(source.line.tokens)} tokens are replaced" in page.text
    assert len(line.tokens) > 2 * len(source.line.tokens)  # they do cut the text otherwise
