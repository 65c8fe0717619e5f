"""What the tests of zero-shot judging share: a tokenizer of words in pieces, models of random weights in folders."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedModel,
)

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "mat", "moon", ".", "and", "dog",
    "ran", "to", "house", "##s", "##ing", "un", "##believ", "##able", "walk", "##er", ",", "who",
]  # fmt: skip
POSITIONS = 20
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On tensors this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(made: PreTrainedModel, folder: Path) -> str:
    """A folder as the Hub has it, with weights that mean something and a tokenizer beside them."""
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    made.eval().save_pretrained(folder)
    BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return os.fspath(folder)


@pytest.fixture
def discriminator(tmp_path: Path) -> str:
    return saved(ElectraForPreTraining(ElectraConfig(embedding_size=16, **SIZES)), tmp_path / "discriminator")


@pytest.fixture
def generator(tmp_path: Path) -> str:
    return saved(ElectraForMaskedLM(ElectraConfig(embedding_size=16, **SIZES)), tmp_path / "generator")


@pytest.fixture
def bert(tmp_path: Path) -> str:
    return saved(BertForMaskedLM(BertConfig(**SIZES)), tmp_path / "bert")
