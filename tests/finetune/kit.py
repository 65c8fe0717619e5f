"""A small tokenizer, an encoder, files to read, and the real data where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast

from electrain.batch import Batch
from electrain.data.tokenizer import vocab_of
from electrain.encoders.bert import Bert
from electrain.randomness import row_keys

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'!?-"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
WORDS = ["the", "cat", "dog", "sat", "on", "mat", "good", "bad", "film", "##ing", "##ed", "sing", "paris"]
TOKENIZER = BertTokenizerFast(vocab={word: number for number, word in enumerate([*PIECES, *WORDS])})
VOCAB = vocab_of(TOKENIZER)
SIZES = Bert.Config(layers=2, hidden=24, ffn=32, heads=2, embedding=16, positions=128)


def real(name: str) -> Path:
    """A folder of shared/data beside the checkout; skips the test where there is none."""
    for parent in Path(__file__).resolve().parents:
        if (found := parent / "shared" / "data" / name).is_dir():
            return found
    pytest.skip(f"no shared/data/{name} beside the checkout")


def wrote(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def batch(lengths: list[int]) -> Batch:
    """Rows of random ids, padded."""
    longest = max(lengths)
    real_places = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    ids = torch.where(real_places, torch.randint(5, VOCAB.size, real_places.shape), VOCAB.pad)
    segments = (torch.arange(longest)[None] > 3).long() * real_places
    return Batch(ids, segments, real_places, real_places, row_keys(0, 0, torch.arange(len(lengths))))


def sure(classes: list[int] | np.ndarray, count: int) -> list[tuple[np.ndarray, ...]]:
    """Predictions that say these classes."""
    return [(np.eye(count, dtype=np.float32)[number] * 5,) for number in classes]
