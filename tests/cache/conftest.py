"""A data folder with a tokenizer that loads, and a masked LM that was trained on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from electrain.optim.adam import Adam
from electrain.train import pretrain
from tests.commands import give
from tests.training import BERT, VOCAB, make_data, tiny

Command = Callable[..., tuple[int, str]]


def with_tokenizer(folder: Path, seed: int = 0) -> Path:
    """`make_data` with a tokenizer of its 200 tokens."""
    from transformers import BertTokenizer

    make_data(folder, seed)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(5, VOCAB.size))]
    (folder / "tokenizer" / "tokenizer.json").unlink()
    BertTokenizer(vocab={name: number for number, name in enumerate(names)}).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and `generator`, a run."""
    folder = tmp_path_factory.mktemp("world")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with_tokenizer(folder / "data")
    pretrain(tiny(BERT, 20, optim=Adam(lr=5e-3, warmup=5)), folder / "data", folder / "generator")
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Gives a command in this process; returns its exit code and what it said."""

    def command(*words: object) -> tuple[int, str]:
        left = give(capsys, *words)
        return left.code, left.said

    return command


def cache(world: Path, out: Path, *options: object) -> list[str]:
    """The words of `electrain cache` at the sizes of `tests.training.tiny`, without compiling."""
    words = ["cache", world / "generator", "--data", world / "data", "--out", out, "--length", 16, "--top-k", 8]
    words += ["--selections", 2, "--batch", 16, "--compute.compile", False, "--compute.dtype", "float32"]
    return [str(word) for word in [*words, "--compute.device", "cpu", "--compute.threads", 1, *options]]
