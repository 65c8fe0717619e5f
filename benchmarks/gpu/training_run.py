"""A real run, as a user's would be: the recipe as it is, on prepared data, stopped by SIGTERM, gone on with later."""

import hashlib
import json
import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from electrain.checkpoint import listed
from electrain.data.manifest import Manifest, Shard, Source
from electrain.errors import Stopped, UserError
from electrain.tracking import say
from electrain.train import pretrain
from electrain.vocab import Vocab
from gpu.report import Report
from gpu.setting import Setting

POINTS = 60  # of the curve, at most
SAVING = 15.0  # seconds kept for the last checkpoint
DRY = 3  # lines of metrics.jsonl after which a dry run is stopped


def make(where: Setting, report: Report, out: Path, data: Path | None, seconds: float) -> None:
    """Begin, or go on with, OUT/run for so many seconds."""
    began = time.monotonic()
    data = data or random_data(out / "data", where.vocab)
    run, folder = where.run, out / "run"
    before = lines(folder)
    ending = threading.Thread(target=_strike, args=(began + seconds - SAVING, folder, where.dry, len(before)))
    ending.daemon = True
    ending.start()
    command = f"electrain pretrain {run.recipe} --data {data} --out {folder}"
    try:
        pretrain(run, data, folder, command)
        stopped = ""
    except Stopped as stop:
        stopped = str(stop)
    report.add(done=False, **found(where, folder, before, time.monotonic() - began), stopped=stopped, command=command)


def _strike(at: float, folder: Path, dry: bool, known: int) -> None:
    """Ask this process to end when it is time, as a scheduler would; a dry run as soon as it has said something."""
    while time.monotonic() < at and not (dry and len(lines(folder)) >= known + DRY):
        time.sleep(0.1)
    say("the time is up")
    os.kill(os.getpid(), signal.SIGTERM)


def lines(folder: Path) -> list[dict[str, Any]]:
    """What the run has written of itself."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    found = []
    for text in path.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:  # being written
            break
    return found


def found(where: Setting, folder: Path, before: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Throughput and curve of all that is there, and of this command's part."""
    every = lines(folder)
    train = [line for line in every if line["kind"] == "train"]
    first = max((line["step"] for line in before), default=0)
    here = [line for line in train if line["step"] > first]
    last = int(listed(folder)[-1].name.removeprefix("step-")) if listed(folder) else 0
    if not here or not last:
        raise UserError("run: there was no time to come to the first line of its log")
    every_th = max(1, len(train) // POINTS)
    shown = ("step", "loss", "mlm_loss", "rtd_loss", "rtd_auc", "tokens_per_second", "data_wait")
    steady = here[1:] or here  # the first one's time holds compiling
    return {
        "recipe": where.run.recipe,
        "steps_of_the_recipe": where.run.steps,
        "from_step": first,
        "to_step": last,
        "tokens": last * where.run.batch * where.run.length,
        "seconds": seconds,
        "tokens_per_second": statistics.median(line["tokens_per_second"] for line in steady),
        "data_wait": statistics.median(line["data_wait"] for line in steady),
        "curve": [{key: line.get(key) for key in shown} for line in train[::every_th]],
        "last": {key: value for key, value in train[-1].items() if key != "kind"},
        "held_out": [line for line in every if line["kind"] == "eval"][-3:],
    }


def random_data(folder: Path, vocab: Vocab) -> Path:
    """A data folder of random documents: for trying the run out."""
    if (folder / "manifest.json").exists():
        return folder
    random = np.random.default_rng(0)

    def shard(file: str, documents: int) -> Shard:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        ids = random.integers(5, vocab.size, (documents, 100), dtype=np.uint16)
        ids[:, -1] = vocab.sep
        ends = np.arange(1, documents + 1) * 100
        contents = {file: ids.astype("<u2").tobytes(), f"{file}.index": ends.astype("<u8").tobytes()}
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        sums = [hashlib.sha256(content).hexdigest() for content in contents.values()]
        return Shard(file, ids.size, documents, sums[0], sums[1])

    train, validation = shard("train/00000.ds", 500), shard("validation/00000.ds", 50)
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")  # a run copies it and does not read it
    Manifest(
        dtype="uint16",
        vocab=vocab,
        tokenizer_sha256="",
        train=(train,),
        validation=(validation,),
        sources=(Source("random tokens", 1.0, 550, 110_000),),
        validation_share=0.1,
        split="by hand",
        frequencies_sha256="",
    ).save(folder)
    return folder
