"""What docs/scale.md rests on: the needs of steps, the memory of a CPU, the size of prepared data (see scale.py)."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from electrain.data.manifest import Manifest
from electrain.plan.needs import needs
from electrain.recipes.electra import electra_base, electra_large, electra_small
from electrain.start import machine, versions

NEEDS, CPU, CORPUS = "scale-needs.json", "scale-cpu.json", "scale-corpus.json"
RUNS = {
    "electra_small": (electra_small, torch.bfloat16),
    "electra_base": (electra_base, torch.bfloat16),
    "electra_large": (electra_large, torch.bfloat16),
    "electra_small float32": (electra_small, torch.float32),
    "electra_base 128": (lambda: replace(electra_base(), length=128), torch.bfloat16),
}


def write(path: Path, what: str, **content: Any) -> None:
    head = {"what": what, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions()}
    path.write_text(json.dumps({**head, **content}, indent=2) + "\n")


def find_needs(results: Path) -> None:
    found = {name: asdict(needs(make(), dtype=dtype)) for name, (make, dtype) in RUNS.items()}
    write(results / NEEDS, "what a step needs of a device, from a run of it without numbers", needs=found)


def measure_cpu(results: Path) -> None:
    """The best of many: what others do on the machine can only take away from it."""
    source = torch.randn(2**26)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(300):
        began = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - began)
        time.sleep(0.2)
    size = 2 * source.numel() * source.element_size()
    write(
        results / CPU,
        "bytes a second of copying memory, the best of 300 copies in a minute",
        bytes_per_second=size / best,
    )


def measure_corpus(results: Path, folder: Path) -> None:
    manifest = Manifest.load(folder)
    shards = [shard for split in (manifest.train, manifest.validation) for shard in split]
    files = [folder / name for shard in shards for name in (shard.file, shard.index)]
    write(
        results / CORPUS,
        "bytes of prepared data, token files and indexes",
        bytes=sum(path.stat().st_size for path in files),
        tokens=sum(shard.tokens for shard in shards),
        documents=sum(shard.documents for shard in shards),
        text_bytes=manifest.summary["bytes"],
        vocabulary=manifest.vocab.size,
    )
