import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from electrain.data.tokenizer import encoder_of, load_tokenizer, train_tokenizer, vocab_of
from electrain.errors import UserError

SENTENCE = "the quick brown fox jumps over a lazy dog while Ünïcode naïve readers walk walking walked talked"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(60)) + f". Number {i}!" for i in range(200)]


@pytest.mark.parametrize("kind", ["wordpiece-uncased", "wordpiece-cased", "bytes"])
def test_a_trained_tokenizer_is_what_auto_tokenizer_loads(tmp_path: Path, kind) -> None:
    tokenizer = train_tokenizer(iter(TEXTS), kind, 300, 1)
    assert len(tokenizer) <= 300
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.pad_token, loaded.unk_token, loaded.cls_token, loaded.sep_token, loaded.mask_token) == (
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    )
    pair = loaded("the fox", "a dog")
    first = loaded("the fox", add_special_tokens=False)["input_ids"]
    second = loaded("a dog", add_special_tokens=False)["input_ids"]
    cls, sep = loaded.cls_token_id, loaded.sep_token_id
    assert pair["input_ids"] == [cls, *first, sep, *second, sep]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert loaded("the fox")["input_ids"] == [cls, *first, sep]
    upper = loaded("THE FOX", add_special_tokens=False)["input_ids"]
    assert (upper == first) == (kind == "wordpiece-uncased")
    if kind != "bytes":
        assert loaded.do_lower_case == (kind == "wordpiece-uncased")
        assert loaded.unk_token_id in loaded("日本", add_special_tokens=False)["input_ids"]
    else:
        assert loaded.decode(loaded("naïve 日本", add_special_tokens=False)["input_ids"]) == "naïve 日本"


@pytest.mark.parametrize("kind", ["wordpiece-uncased", "bytes"])
def test_training_gives_the_same_tokenizer_again_and_the_size_asked_for(kind) -> None:
    texts = [" ".join(f"w{i * j % 977:x}{j % 31:o}q{i % 13}" for j in range(40)) for i in range(300)]
    one, two = (train_tokenizer(texts, kind, 500, 2).get_vocab() for _ in range(2))
    assert one == two and len(one) == 500


def test_min_frequency_and_too_little_text_make_it_smaller() -> None:
    often, rarely = (len(train_tokenizer(TEXTS[:20], size=2000, min_frequency=f)) for f in (5, 1))
    assert often < rarely < 2000
    with pytest.raises(UserError, match="empty after cleaning"):
        train_tokenizer([])
    with pytest.raises(UserError, match="--vocab-size 100 is too small"):
        train_tokenizer(TEXTS, size=100)


def test_special_tokens_in_a_text_are_text(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["a [SEP] b [MASK] c sep mask", *TEXTS], size=300, min_frequency=1)
    tokenizer.save_pretrained(tmp_path)
    text = "the fox [SEP] [MASK] [CLS] over"
    ids = encoder_of(tmp_path / "tokenizer.json").encode(text, add_special_tokens=False).ids
    assert ids == tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert not set(ids) & set(vocab_of(tokenizer).special)


def test_what_a_loaded_tokenizer_truncates_or_pads_is_undone(tmp_path: Path) -> None:
    core = Tokenizer.from_str(train_tokenizer(TEXTS, size=300).backend_tokenizer.to_str())
    core.enable_truncation(8)
    core.enable_padding(length=32)
    core.save(str(tmp_path / "tokenizer.json"))
    encoder = encoder_of(tmp_path / "tokenizer.json")
    long, short = encoder.encode_batch_fast([TEXTS[0], "fox"], add_special_tokens=False)
    assert len(long.ids) > 60 and 0 not in short.ids


def test_vocab_of() -> None:
    vocab = vocab_of(train_tokenizer(TEXTS, size=300))
    assert vocab.special == (0, 2, 3, 4) and (vocab.pad, vocab.unk, vocab.cls, vocab.sep, vocab.mask) == (0, 1, 2, 3, 4)


def bare(words: list[str]) -> Tokenizer:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return core


def test_a_vocabulary_with_gaps_and_without_unk() -> None:
    core = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<mask>": 7}, unk_token="<pad>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", cls_token="<s>", sep_token="</s>", mask_token="<mask>"
    )
    vocab = vocab_of(tokenizer)
    assert vocab.size == 8 and vocab.unk == 7 and vocab.special == (0, 1, 2, 7)


def test_a_tokenizer_without_mask_is_refused() -> None:
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "word"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare(words), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    with pytest.raises(UserError, match=r"the tokenizer has no \[MASK\]; choose one"):
        vocab_of(tokenizer)


def test_load_from_a_folder_a_file_and_nowhere(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, size=300)
    tokenizer.save_pretrained(tmp_path / "folder")
    for place in (tmp_path / "folder", tmp_path / "folder/tokenizer.json"):
        loaded = load_tokenizer(place)
        assert loaded.get_vocab() == tokenizer.get_vocab() and vocab_of(loaded) == vocab_of(tokenizer)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/tokenizer.json").write_text(json.dumps({"no": "tokenizer"}))
    for place in (tmp_path / "nosuch", tmp_path / "bad", tmp_path / "bad/tokenizer.json", "nobody/nothing"):
        with pytest.raises(UserError, match="no tokenizer could be loaded from there") as caught:
            load_tokenizer(place)
        assert str(place) in str(caught.value) and "\n" not in str(caught.value)
