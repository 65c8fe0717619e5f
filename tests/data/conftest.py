"""Data folders written by hand with numpy: the token files, their indices and the manifest."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from electrain.data.manifest import Manifest, Shard, Source
from electrain.vocab import Vocab

VOCAB = Vocab(size=1000, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
Documents = Sequence[Sequence[int]]


def _shard(folder: Path, file: str, documents: Documents, repeat: float, dtype: str) -> Shard:
    ids = np.array([token for document in documents for token in [*document, VOCAB.sep]], f"<{np.dtype(dtype).str[1:]}")
    ends = np.cumsum([len(document) + 1 for document in documents]).astype("<u8")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    digests = []
    for path, array in ((folder / file, ids), (folder / (file + ".index"), ends)):
        path.write_bytes(array.tobytes())
        digests.append(hashlib.sha256(array.tobytes()).hexdigest())
    return Shard(file, ids.size, len(documents), digests[0], digests[1], repeat)


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data folder: for each shard its documents (lists of ids, without [SEP]) and its repetition."""

    def make(
        train: Sequence[tuple[Documents, float]],
        validation: Sequence[tuple[Documents, float]] = (),
        dtype: str = "uint16",
        name: str = "data",
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shards = {
            split: tuple(
                _shard(folder, f"{split}/{number:05}.ds", documents, repeat, dtype)
                for number, (documents, repeat) in enumerate(parts)
            )
            for split, parts in (("train", train), ("validation", validation))
        }
        Manifest(
            dtype=dtype,  # type: ignore[arg-type]
            vocab=VOCAB,
            tokenizer_sha256="",
            train=shards["train"],
            validation=shards["validation"],
            sources=(Source("by hand", 1.0, 3, 100),),
            validation_share=0.1,
            split="by hand",
            frequencies_sha256="",
            summary={"documents": 3, "dropped": {"empty": 1}},
        ).save(folder)
        return folder

    return make


@pytest.fixture
def documents() -> Callable[..., list[list[int]]]:
    """Random documents of the given sizes, or of random sizes below a limit; no special tokens inside, but [UNK]s."""

    def make(count: int, limit: int = 60, seed: int = 0, sizes: Sequence[int] | None = None) -> list[list[int]]:
        random = np.random.default_rng(seed)
        lengths = random.integers(0, limit, count) if sizes is None else sizes
        texts = [random.integers(5, VOCAB.size, length) for length in lengths]
        return [np.where(random.random(text.size) < 0.05, VOCAB.unk, text).tolist() for text in texts]

    return make
