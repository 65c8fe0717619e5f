"""Tokenizers: load one, train one, and say what training has to know of it."""

import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from electrain.data.untrusted import PROBE, check
from electrain.errors import UserError, reason
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Kind = Literal["wordpiece-uncased", "wordpiece-cased", "bytes"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET = 1000  # characters at most that WordPiece knows by themselves; the rarer ones become [UNK]
RAREST = 1e-6  # share of all characters below which one is not worth two places in the vocabulary
SMALLEST = 300  # a vocabulary below it could not hold the special tokens and an alphabet
MAX_LENGTH = 512  # what the models here are trained for; only a default of the saved tokenizer


def load_tokenizer(name_or_path: str | Path) -> "PreTrainedTokenizerFast":
    """A fast tokenizer of a folder, a tokenizer.json, or the Hub; no code from there runs.

    UserError if there is none, only a slow one, or one that fails on text.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    name = str(name_or_path)
    path = Path(name).expanduser()
    try:
        check(path)
        if path.is_file():
            tokenizer = _from_file(path)
        else:
            where = str(path) if path.is_dir() else name
            tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
        if isinstance(tokenizer, PreTrainedTokenizerFast):
            tokenizer.backend_tokenizer.encode(PROBE)
    except BaseException as error:  # OSError, ValueError, or whatever the parser of a damaged file raises
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of native code
            raise
        raise UserError(
            f"{name}: no tokenizer could be loaded from there ({reason(error)}); check --tokenizer"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"{name}: {type(tokenizer).__name__} is not a fast tokenizer; choose one that has a tokenizer.json"
        )
    return tokenizer


def bare(tokenizer: "PreTrainedTokenizerFast", *, plain: bool) -> "Tokenizer":
    """A copy of the tokenizer within, which neither cuts nor pads.

    plain: reads "[SEP]" in a text as text, as in pre-training; otherwise as transformers does, as the token
    """
    from tokenizers import Tokenizer

    return _switched(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), plain)


def vocab_of(tokenizer: "PreTrainedTokenizerFast") -> Vocab:
    """Size and special ids. UserError if there is no [PAD], [CLS], [SEP] or [MASK] (or what stands for it).

    Where there is no [UNK] (a tokenizer of bytes needs none), the id of [MASK] is given, which does not occur in text
    either.
    """
    name = tokenizer.name_or_path or type(tokenizer).__name__
    try:
        ids = {
            role: number
            for role, number in (
                ("[PAD]", tokenizer.pad_token_id),
                ("[CLS]", tokenizer.cls_token_id),
                ("[SEP]", tokenizer.sep_token_id),
                ("[MASK]", tokenizer.mask_token_id),
            )
            if isinstance(number, int)
        }
        special = {number for number in tokenizer.all_special_ids if number != tokenizer.unk_token_id}
    except RecursionError as error:  # transformers looks up the number of what it does not know as that of [UNK]
        raise UserError(
            f"{name}: its token for the unknown is not among its tokens; choose another tokenizer"
        ) from error
    if missing := [role for role in ("[PAD]", "[CLS]", "[SEP]", "[MASK]") if role not in ids]:
        raise UserError(
            f"{name}: the tokenizer has no {', '.join(missing)}; choose one made for masked language models, or leave "
            "--tokenizer out and one is trained on the corpus"
        )
    unk = tokenizer.unk_token_id if isinstance(tokenizer.unk_token_id, int) else ids["[MASK]"]
    return Vocab(
        size=max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1),
        pad=ids["[PAD]"],
        unk=unk,
        cls=ids["[CLS]"],
        sep=ids["[SEP]"],
        mask=ids["[MASK]"],
        special=tuple(sorted(special)),
    )


def train_tokenizer(
    texts: Iterable[str], kind: Kind = "wordpiece-uncased", size: int = 30522, min_frequency: int = 2
) -> "PreTrainedTokenizerFast":
    """A tokenizer of at most `size` tokens, the same one for the same texts; AutoTokenizer loads it once it is saved.

    It comes out smaller where the texts have too few pairs that occur `min_frequency` times. The texts are held in
    memory while it works. UserError if `size` is below SMALLEST or there is no text.
    """
    if size < SMALLEST:
        raise UserError(f"--vocab-size {size} is too small; give {SMALLEST} or more")
    held = list(texts)
    if not any(held):
        raise UserError("the corpus is empty after cleaning: there is nothing to train a tokenizer on")
    if kind == "bytes":
        return _train_bytes(held, size, min_frequency)
    return _train_wordpiece(held, size, min_frequency, lowercase=kind == "wordpiece-uncased")


def encoder_of(tokenizer_json: str | Path) -> "Tokenizer":
    """The bare tokenizer that makes a corpus' tokens: neither truncates nor pads, and reads "[SEP]" in a text as text.

    The same as `tokenizer(text, add_special_tokens=False, split_special_tokens=True)`, many texts at a time.
    """
    from tokenizers import Tokenizer

    return _switched(Tokenizer.from_file(str(tokenizer_json)), plain=True)


def _switched(core: "Tokenizer", plain: bool) -> "Tokenizer":
    core.no_truncation()
    core.no_padding()
    core.encode_special_tokens = plain
    return core


def _from_file(path: Path) -> "PreTrainedTokenizerFast":
    """A tokenizer.json alone: its special tokens are taken by their usual names."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer.from_file(str(path))
    usual = {"pad": ("[PAD]", "<pad>"), "unk": ("[UNK]", "<unk>"), "cls": ("[CLS]", "<s>"), "sep": ("[SEP]", "</s>")}
    names = {**usual, "mask": ("[MASK]", "<mask>")}
    found = {
        f"{role}_token": next((name for name in names[role] if core.token_to_id(name) is not None), None)
        for role in names
    }
    return PreTrainedTokenizerFast(tokenizer_object=core, name_or_path=str(path), **found)


def _train_wordpiece(texts: list[str], size: int, min_frequency: int, *, lowercase: bool) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # pyright: ignore[reportCallIssue]
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _alphabet(texts, core.normalizer.normalize_str, min(ALPHABET, size // 4))
    # The trainer numbers the continuing characters as its hash table happens to list the words, and equally frequent
    # pairs are merged in the order of these numbers. Named beforehand they make training the same on each run.
    continuing = ["##" + character for character in alphabet if _inside_words(character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL, *continuing],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return BertTokenizer(vocab=core.get_vocab(), do_lower_case=lowercase, model_max_length=MAX_LENGTH)


def _train_bytes(texts: list[str], size: int, min_frequency: int) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    pad, unk, cls, sep, mask = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=pad,
        unk_token=unk,
        cls_token=cls,
        sep_token=sep,
        mask_token=mask,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _alphabet(texts: list[str], normalize: Callable[[str], str], limit: int) -> list[str]:
    """The characters of the normalised texts, sorted: the `limit` most frequent ones that are not very rare."""
    counts = np.zeros(sys.maxunicode + 1, np.int64)
    for text in texts:
        points = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
        low, high = points.min(initial=sys.maxunicode), points.max(initial=0)
        if points.size:
            counts[low : high + 1] += np.bincount(points - low)
    normal: Counter[str] = Counter()
    for point in np.flatnonzero(counts):
        for character in normalize(chr(point)):
            normal[character] += int(counts[point])
    kept = sorted(normal.items(), key=lambda item: (-item[1], item[0]))[:limit]
    least = RAREST * normal.total()
    return sorted(character for character, count in kept if count >= least and not character.isspace())


def _inside_words(character: str) -> bool:
    """Whether WordPiece's word splitting can leave this character behind another one: no punctuation, no ideograph."""
    if character in string.punctuation or unicodedata.category(character).startswith("P"):
        return False
    return not unicodedata.name(character, "").startswith("CJK ")
