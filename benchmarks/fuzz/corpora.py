"""Targets: what `electrain prepare` reads, and `prepare` itself from the first step to the last."""

import gzip
import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from electrain.data.corpus import Layout, list_files
from electrain.data.pieces import cut
from electrain.data.prepare import prepare
from electrain.data.reading import Rules, Tally, read
from electrain.data.settings import Prepare
from electrain.data.shards import Shards
from electrain.data.tokenizer import encoder_of, load_tokenizer, vocab_of
from electrain.errors import UserError
from fuzz.target import Target, tree_of
from fuzz.world import SENTENCES, TEXT

JSONL = "\n".join(
    [
        '{"text": "the cat sat on the mat", "id": 1}',
        '{"id": 2, "text": "two films\\nthat nobody \\u00e9 liked", "more": {"a": [1, 2.5, null]}}',
        '{"text": null}',
        "",
        '{"text": "a dog sang", "id": "x", "url": "http://x"}',
    ]
).encode()


def parquet(**columns: list) -> bytes:
    """A parquet file of two row groups."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=2)
    return sink.getvalue()


def targets(world: Path) -> list[Target]:
    text = TEXT[:180].encode()
    table = parquet(text=[*SENTENCES[:3], None], id=[1, 2, 3, 4])
    tokenizer = tree_of(world / "data/tokenizer")
    plain = {"a.txt": text, "lines.txt": text, "skip.txt": text + text}
    packed = {
        f"{name}{end}": pack(content)
        for name, content in (("a.txt", text), ("b.jsonl", JSONL))
        for end, pack in _PACKED
    }
    return [
        Target("text", "plain text", 200_000, plain, dict.fromkeys(plain, "text"), corpus),
        Target("packed", "text and jsonl, .gz and .zst", 50_000, packed, dict.fromkeys(packed, "bytes"), corpus),
        Target(
            "jsonl", "jsonl corpus", 170_000, {"a.jsonl": JSONL, "skip.jsonl": JSONL},
            {"a.jsonl": "jsonl", "skip.jsonl": "jsonl"}, corpus,
        ),
        Target("parquet", "parquet corpus", 6_000, {"a.parquet": table}, {"a.parquet": "bytes"}, corpus),
        Target(
            "tokenizer.json", "tokenizer.json alone", 6_000, {"tokenizer.json": tokenizer["tokenizer.json"]},
            {"tokenizer.json": "json"}, tokenizer_file,
        ),
        Target("tokenizer", "tokenizer folder", 800, tokenizer, dict.fromkeys(tokenizer, "json"), tokenizer_folder),
        Target(
            "prepare", "prepare, from a corpus to the manifest", 120,
            {"a.txt": text, "b.jsonl": JSONL, "c.parquet": table, "d.txt.gz": gzip.compress(text), **{
                f"tokenizer/{name}": content for name, content in tokenizer.items()}},
            {"a.txt": "text", "b.jsonl": "jsonl", "c.parquet": "bytes", "d.txt.gz": "bytes",
             "tokenizer/tokenizer.json": "json"},
            whole_way, whole=True,
        ),
    ]  # fmt: skip


_PACKED = ((".gz", gzip.compress), (".zst", zstandard.compress))


def corpus(folder: Path, name: str) -> None:
    """Every document of a file, by strict rules, or by ones that skip and split."""
    layout = Layout(documents="blank-lines" if name.startswith(("lines", "skip")) else "files")
    rules = Rules("skip", "split", 100) if name.startswith("skip") else Rules()
    for task in cut([list_files(str(folder / name), layout)], layout):
        for piece in task:
            for text in read(piece, layout, rules, Tally()):
                text.encode()


def tokenizer_file(folder: Path, name: str) -> None:
    used(folder / name)


def tokenizer_folder(folder: Path, name: str) -> None:
    used(folder)


def used(place: Path) -> None:
    """A tokenizer as `prepare` uses it."""
    tokenizer = load_tokenizer(place)
    vocab_of(tokenizer)
    if place.is_file():
        encoder_of(place).encode_batch_fast([*SENTENCES, "[SEP] \0"], add_special_tokens=False)


def whole_way(folder: Path, name: str) -> None:
    """`prepare`, with the given tokenizer half the time; what it leaves must be nothing, or whole."""
    out = folder / "out"
    try:
        corpus = tuple(str(folder / file) for file in ("a.txt", "b.jsonl", "c.parquet", "d.txt.gz"))
        given = str(folder / "tokenizer") if name.startswith(("tokenizer", "a", "c")) else None
        prepare(Prepare(corpus=corpus, out=out, tokenizer=given, vocab_size=None if given else 300, workers=1))
        for split in ("train", "validation"):
            Shards.open(out, split, verify=True)
    except UserError:
        if out.exists():
            raise AssertionError(f"left behind: {sorted(path.name for path in out.iterdir())}") from None
        raise
    finally:
        shutil.rmtree(out, ignore_errors=True)
