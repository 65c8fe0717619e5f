"""Targets: the folders that electrain makes and reads again."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electrain.cache.format import Binding, Part
from electrain.cache.format import Manifest as CacheManifest
from electrain.cache.read import Cache
from electrain.cache.write import finished, verify
from electrain.data.examples import Full, Pairs
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.finetune.results import Result, Results
from electrain.hub.export import export
from electrain.hub.opened import opened
from electrain.hub.source import Folders
from electrain.run import Record
from electrain.study.figures import Figures, counted
from fuzz.target import Target, tree_of

LENGTH = 16
SETTINGS: Mapping[str, Any] = {"lr": 1e-4, "task": "x", "digests": {"rows": "0"}}


def targets(world: Path) -> list[Target]:
    data, run, cache = tree_of(world / "data"), tree_of(world / "run"), tree_of(world / "cache")
    data = {name: content for name, content in data.items() if not name.startswith("tokenizer/")}
    shards = {name: "bytes" for name in data if name != "manifest.json"}
    records = {f"cache/{name}": "bytes" for name in cache if name.endswith(".rec")}
    caches = {
        **{f"cache/{name}": content for name, content in cache.items()},
        **{f"data/{n}": c for n, c in data.items()},
    }
    weights = [name for name in run if name.endswith(".safetensors")]
    plain = [name for name in run if name.endswith(".json") and name != "run.json"] + ["metrics.jsonl"]
    result = vars(Result(0, "accuracy", 0.5, {"dev": {"accuracy": 0.5, "f1": 0.25}}, 1.0, 10, 3.5))
    results = {
        "task.json": json.dumps(
            {"settings": {"lr": 1e-4, "task": "x", "digests": {"rows": "0"}}, "command": ""}
        ).encode(),
        "results.jsonl": "\n".join(json.dumps({**result, "seed": seed}) for seed in range(3)).encode(),
    }
    figures = {"figures.json": json.dumps(vars(Figures("tiny", 0))).encode()}
    return [
        Target("manifest", "manifest of data", 50_000, data, {"manifest.json": "json"}, manifest, seal_manifest),
        Target("shards", "token files, indices, frequencies", 3_000, data, shards, tokens),
        Target("cache.json", "a cache", 30_000, caches, {"cache/cache.json": "json"}, proposals, seal_cache),
        Target("records", "records of a cache", 3_000, caches, records, proposals),
        Target("run.json", "run.json", 30_000, {"run.json": run["run.json"]}, {"run.json": "json"}, record),
        Target(
            "run", "run folder: run.json, checkpoint, tokenizer", 400, run,
            {"run.json": "json", **dict.fromkeys(weights, "bytes"), **dict.fromkeys(plain, "json")}, run_folder,
        ),
        Target(
            "results", "fine-tunings", 30_000, results, {"task.json": "json", "results.jsonl": "jsonl"}, tuned,
        ),
        Target("figures.json", "figures of a study", 50_000, figures, {"figures.json": "json"}, study),
        Target(
            "metrics.jsonl", "log of a run, for a study", 10_000,
            {name: run[name] for name in ("run.json", "metrics.jsonl")}, {"metrics.jsonl": "jsonl"}, log,
        ),
    ]  # fmt: skip


def manifest(folder: Path, name: str) -> None:
    """What a training makes of the folder before its first step."""
    shards = Shards.open(folder)
    Loader(Full.Config().build(shards, LENGTH), shards.vocab, batch=2, seed=0).step(0)


def seal_manifest(name: str, content: bytes) -> bytes:
    try:
        tree = json.loads(content)
        del tree["checksum"]
        text = json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        tree["checksum"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(tree).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return content


def tokens(folder: Path, name: str) -> None:
    """Rows of damaged files, read without the check that reads all; then that check."""
    for packing in (Full.Config(), Pairs.Config()):
        for split in ("train", "validation"):
            shards = Shards.open(folder, split)
            Loader(packing.build(shards, LENGTH), shards.vocab, batch=8, seed=0).step(0)
    if name.startswith("frequencies"):
        Folders(folder).frequencies()
    else:
        Shards.open(folder, "train", verify=True)
        Shards.open(folder, "validation", verify=True)


def proposals(folder: Path, name: str) -> None:
    packing = Full.Config().build(Shards.open(folder / "data"), LENGTH)
    cache = Cache(folder / "cache")
    finished(folder / "cache", cache.manifest.binding, 4)
    rows = np.arange(min(8, packing.rows))
    cache.reader(packing).take(rows, rows)
    if name.endswith(".rec"):
        verify(folder / "cache", cache.manifest)


def seal_cache(name: str, content: bytes) -> bytes:
    try:
        tree = json.loads(content)
        parts = [Part(tree[s]["rows"], tree[s]["each"], tuple(tree[s]["sha256"])) for s in ("train", "validation")]
        tree["checksum"] = CacheManifest(Binding(**tree["binding"]), "", *parts).checksum
        return json.dumps(tree).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return content


def record(folder: Path, name: str) -> None:
    Record.load(folder)


def run_folder(folder: Path, name: str) -> None:
    """A model from a run's folder, and its export, which is whole or not there."""
    opened(folder, "best", warn=lambda _: None)
    out = folder.parent / "export"
    try:
        export(folder, out, warn=lambda _: None)
    except UserError:
        if out.exists():
            raise AssertionError("left behind: an export") from None
        raise
    finally:
        shutil.rmtree(out, ignore_errors=True)


def tuned(folder: Path, name: str) -> None:
    results = Results(folder, dict(SETTINGS), {})
    if results.done():
        results.summary()


def study(folder: Path, name: str) -> None:
    Figures.load(folder / name)


def log(folder: Path, name: str) -> None:
    counted(Record.load(folder).run, folder)
