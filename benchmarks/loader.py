"""Tokens a second of the loader on one thread, everything counted: gather, segments, keys, pinning where a GPU is.

    python benchmarks/loader.py --speed benchmarks/results/SPEED.json --out benchmarks/results/NAME.json

compares it with the step in a results file of benchmarks/speed.py. Writes token files of random ids (one of 100 million
tokens, and the same tokens in many), which stay in the page cache: this measures the loader, not the disk.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch

from electrain.data.examples import Full, Pairs
from electrain.data.loader import Loader
from electrain.data.manifest import Manifest, Shard
from electrain.data.shards import Shards
from electrain.start import machine, versions
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
        # With digests, so that what is read is checked as any prepared data are.
        sums = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (file, file + ".index")]
        listed.append(Shard(file, size, ends.size, *sums))
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


def measure(loader: Loader, seconds: float, rounds: int) -> dict[str, float]:
    """Tokens a second of Loader.step, pinned where there is a GPU: median of rounds; one more warms up."""
    pins = torch.cuda.is_available()
    rates: list[float] = []
    worked: list[float] = []
    step = 0
    for _ in range(rounds + 1):
        began, work, first = time.perf_counter(), time.process_time(), step
        while time.perf_counter() - began < seconds:
            batches = loader.step(step)
            if pins:
                batches = [batch.map(torch.Tensor.pin_memory) for batch in batches]
            step += 1
        tokens = (step - first) * loader.batch * loader.packing.length
        rates.append(tokens / (time.perf_counter() - began))
        worked.append(tokens / (time.process_time() - work))
    rates, worked = rates[1:], worked[1:]
    # The last is what an idle machine would give, where others share this one.
    return {
        "rate": statistics.median(rates), "lowest": min(rates), "highest": max(rates),
        "rate_of_processor": statistics.median(worked),
    }  # fmt: skip


def step_rate(path: Path) -> tuple[float, str, str]:
    """Tokens a second of our best variant in a results file of benchmarks/speed.py, its name, and its machine."""
    report = json.loads(path.read_text())
    variants = report["variants"]
    name = max((name for name in variants if name.startswith("electrain")), key=lambda name: variants[name]["rate"])
    return variants[name]["rate"], name, report["machine"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="*", default=[32, 256], help="rows of a batch")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument(
        "--many", type=int, default=64, help="shards of the second data folder; `prepare` makes about 64"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speed", type=Path, help="results of benchmarks/speed.py: the step that the rows are for")
    parser.add_argument("--step-rate", type=float, help="its tokens a second, in place of a file")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    variants = {}
    with tempfile.TemporaryDirectory() as name:
        for shards in (1, options.many):
            folder = Path(name) / str(shards)
            write(folder, options.tokens, shards)
            opened = Shards.open(folder)
            for config, batch in product((Full.Config(), Pairs.Config()), options.batch):
                packing = config.build(opened, options.length)
                found = measure(Loader(packing, VOCAB, batch=batch, seed=0), options.seconds, options.rounds)
                what = f"{type(packing).__name__.lower()}, {shards} shard(s), batch {batch}"
                variants[what] = found
                print(
                    f"{what:<32}{found['rate']:12,.0f} tokens/s ({found['lowest']:,.0f} to {found['highest']:,.0f})"
                    f"{found['rate_of_processor']:12,.0f} tokens a second of work",
                    flush=True,
                )
    report = {
        "what": "tokens a second of the loader on one thread, all that it does counted, median of rounds",
        "length": options.length, "tokens": options.tokens, "pinned": torch.cuda.is_available(),
        "rounds": options.rounds, "seconds": options.seconds, "date": time.strftime("%Y-%m-%d"),
        "machine": machine(), "versions": versions(), "variants": variants,
    }  # fmt: skip
    if options.speed or options.step_rate:
        rate, name, where = step_rate(options.speed) if options.speed else (options.step_rate, "given", "not said")
        # By work: the step's own rate may have been measured while the machine did less beside it.
        least = min(value["rate_of_processor"] for value in variants.values())
        report |= {"step_rate": rate, "step": name, "step_machine": where, "ratio_to_step": least / rate}
        print(f"the slowest of these, by work, is {least / rate:,.0f} times a step of {rate:,.0f} tokens/s ({name})")
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
