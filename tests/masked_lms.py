"""Small masked language models of transformers in folders, and a data folder whose tokenizer they share."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tests.training import VOCAB, make_data

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(5, VOCAB.size))]
_SIZES: dict[str, Any] = {
    "vocab_size": VOCAB.size,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "pad_token_id": VOCAB.pad,
}
_ENDS: dict[str, Any] = {"bos_token_id": VOCAB.cls, "eos_token_id": VOCAB.sep}
_OWN: dict[str, Any] = {"tie_word_embeddings": False}
_DISTILBERT: dict[str, Any] = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 24}


def tokenizer(folder: Path, words: list[str] | None = None) -> Path:
    """A tokenizer with a token for every id of `tests.training.VOCAB`."""
    vocab = {word: number for number, word in enumerate(words or WORDS)}
    BertTokenizerFast(vocab=vocab).save_pretrained(folder)
    return folder


def data(folder: Path) -> Path:
    """The data of `tests.training`, with a tokenizer that can be compared with a model's, and frequencies."""
    make_data(folder)
    shutil.rmtree(folder / "tokenizer")
    tokenizer(folder / "tokenizer")
    np.save(folder / "frequencies.npy", np.where(np.isin(np.arange(VOCAB.size), VOCAB.special), 0, 10))
    return folder


def roberta() -> PreTrainedModel:
    return RobertaForMaskedLM(RobertaConfig(**_SIZES, **_ENDS, type_vocab_size=1))


def distilbert() -> PreTrainedModel:
    return DistilBertForMaskedLM(DistilBertConfig(vocab_size=VOCAB.size, pad_token_id=VOCAB.pad, **_DISTILBERT))


def modernbert() -> PreTrainedModel:
    """Local attention, rotary positions; an output table of its own, which our encoder has not, and padded."""
    sizes = {**_SIZES, **_ENDS, "vocab_size": 256, "cls_token_id": VOCAB.cls, "sep_token_id": VOCAB.sep}
    return ModernBertForMaskedLM(ModernBertConfig(**sizes, global_attn_every_n_layers=2, local_attention=4, **_OWN))


def bert() -> PreTrainedModel:
    return BertForMaskedLM(BertConfig(**_SIZES))


def untied_bert() -> PreTrainedModel:
    """What our own encoder does not compute."""
    return BertForMaskedLM(BertConfig(**_SIZES, **_OWN))


KINDS = {kind.__name__: kind for kind in (roberta, distilbert, modernbert, untied_bert)}


def saved(made: PreTrainedModel, folder: Path, words: list[str] | None = None) -> Path:
    """A folder as the Hub has it, with weights that mean something and a tokenizer beside them."""
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    made.eval().save_pretrained(folder)
    return tokenizer(folder, words)
