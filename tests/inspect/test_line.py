"""Texts as tokens and back: nothing of a text is lost, whatever is in it."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from electrain.data.tokenizer import train_tokenizer
from electrain.inspect.line import Reader
from tests.zeroshot.conftest import WORDS

TEXTS = (
    "the cat sat on a mat .",
    "",
    "   ",
    " The  CATS\n\nwalking,unbelievable\t. ",
    "👩‍👩‍👧 the cat 🐈!",
    "кот сидел; 猫坐在垫子上; قط جلس",
    "<script>alert(1)</script> &amp; [MASK] [SEP]",
    "a\x00b\u202ec\x1b[2J d\ufffd",
    "e\u0301 ﬁ ß",
)


def characters() -> PreTrainedTokenizerFast:
    """A tokenizer of single letters, as for DNA: its decoder puts no blanks."""
    names = {name: number for number, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"acgt"])}
    core = Tokenizer(models.WordLevel(names, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, mask_token="[MASK]", unk_token="[UNK]")


def words() -> PreTrainedTokenizerFast:
    return BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)})


def pieces_of_bytes() -> PreTrainedTokenizerFast:
    return train_tokenizer(["the cat sat on the mat", "the dog ran to the house"] * 20, "bytes", 300)


@pytest.mark.parametrize("make", [words, pieces_of_bytes, characters])
def test_nothing_of_a_text_is_lost(make) -> None:
    tokenizer = make()
    reader = Reader(tokenizer)
    for text in TEXTS:
        line = reader.read(text)
        assert line.text == text
        encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert line.ids.tolist() == encoded
        assert reader.changed(line, line.ids.tolist()) == line


@pytest.mark.parametrize(
    ("make", "text", "place", "new", "wanted"),
    [
        (words, "The CATS ran.", 1, "dog", "The dogS ran."),
        (words, "The CATS ran.", 2, "##ing", "The CATing ran."),
        (words, "The CATS ran.", 2, "dog", "The CAT dog ran."),
        (words, "The CATS ran.", 4, "mat", "The CATS ran mat"),
        (words, "The CATS ran.", 0, "##ing", "ing CATS ran."),
        (words, "The CATS ran.", 3, "[MASK]", "The CATS [MASK]."),
        (pieces_of_bytes, "the cat sat", 1, "Ġhouse", "the house sat"),
        (pieces_of_bytes, "the cat sat", 1, "ran", "theran sat"),
        (characters, "acgt", 2, "a", "acat"),
        (characters, "acgt", 0, "[MASK]", "[MASK]cgt"),
    ],
)
def test_what_is_read_when_a_token_is_exchanged(make, text: str, place: int, new: str, wanted: str) -> None:
    reader = Reader(make())
    line = reader.read(text)
    ids = line.ids.tolist()
    number = reader.core.token_to_id(new)
    assert number is not None
    ids[place] = number
    changed = reader.changed(line, ids)
    assert changed.text == wanted and changed.ids.tolist() == ids
