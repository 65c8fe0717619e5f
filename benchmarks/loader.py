"""Rows and tokens a second of the loader, on one thread, counting everything it does: `python benchmarks/loader.py`.

Writes token files of random ids (one of 100 million tokens, and the same tokens in many), which stay in the page cache:
this measures the loader, not the disk.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from electrain.data.examples import Full, Packing, Pairs
from electrain.data.loader import Loader
from electrain.data.manifest import Manifest, Shard
from electrain.data.shards import Shards
from electrain.vocab import Vocab

VOCAB = Vocab(size=30522, pad=0, unk=100, cls=101, sep=102, mask=103, special=(0, 101, 102, 103))


def write(folder: Path, tokens: int, shards: int) -> None:
    """A data folder of random documents, 500 tokens each."""
    (folder / "train").mkdir(parents=True)
    random = np.random.default_rng(0)
    listed = []
    for number in range(shards):
        size = tokens // shards
        ids = random.integers(1000, VOCAB.size, size, dtype=np.uint16)
        ends = np.append(np.arange(500, size, 500), size).astype("<u8")
        ids[ends.astype(np.int64) - 1] = VOCAB.sep
        file = f"train/{number:05}.ds"
        ids.astype("<u2").tofile(folder / file)
        ends.tofile(folder / (file + ".index"))
        listed.append(Shard(file, size, ends.size, "", ""))
    Manifest(
        dtype="uint16",
        vocab=VOCAB,
        tokenizer_sha256="",
        train=tuple(listed),
        validation=(),
        sources=(),
        validation_share=0.0,
        split="none",
        frequencies_sha256="",
    ).save(folder)


def measure(packing: Packing, batch: int, seconds: float) -> dict[str, int]:
    """Rates of Loader.step over at least so many seconds, after a warm-up of a tenth of it."""
    loader = Loader(packing, VOCAB, batch=batch, seed=0)
    rates: dict[str, int] = {}
    for limit in (seconds / 10, seconds):
        began, worked, step = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - began < limit:
            loader.step(step)
            step += 1
        rate = step * batch / (time.perf_counter() - began)
        rates = {
            "rows_per_second": round(rate),
            "tokens_per_second": round(rate * packing.length),
            # What an idle machine would give, where others share this one.
            "tokens_per_cpu_second": round(step * batch * packing.length / (time.process_time() - worked)),
        }
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--many", type=int, default=500, help="number of shards of the second data folder")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, object] = {
        "batch": options.batch,
        "length": options.length,
        "tokens": options.tokens,
        "threads": 1,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
    with tempfile.TemporaryDirectory() as name:
        for shards in (1, options.many):
            folder = Path(name) / str(shards)
            write(folder, options.tokens, shards)
            opened = Shards.open(folder)
            for config in (Full.Config(), Pairs.Config()):
                packing = config.build(opened, options.length)
                rates = measure(packing, options.batch, options.seconds)
                result[f"{type(packing).__name__.lower()}_{shards}_shards"] = rates
                print(
                    f"{type(packing).__name__:5}  {shards:5} shard(s)  {rates['rows_per_second']:10,} rows/s"
                    f"  {rates['tokens_per_second']:12,} tokens/s  {rates['tokens_per_cpu_second']:12,} tokens/CPU s"
                )
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
