"""What the tests of training share: a small data folder, tiny runs, and training in a process of its own."""

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from electrain import train
from electrain.compute import Compute
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.data.examples import Full, Packing, Pairs
from electrain.data.manifest import Manifest, Shard, Source
from electrain.encoders.bert import Bert
from electrain.errors import Stopped, UserError
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.run import Run
from electrain.system import System
from electrain.vocab import Vocab
from tests.forked import Forked

VOCAB = Vocab(size=200, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
ENCODER = Bert.Config(layers=2, hidden=32, ffn=64, heads=2, embedding=16, positions=16)
ELECTRA = System.Config(ENCODER, Joint.Config(width=0.5), Rtd.Config(), weight=50.0)
BERT = System.Config(ENCODER, Mask.Config(), Mlm.Config())
TIMING = ("tokens_per_second", "data_wait", "memory")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For the modules that import it: on tensors this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_data(folder: Path, seed: int = 0) -> Path:
    """A data folder: documents that walk up the vocabulary in small strides, so that there is something to learn."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)

    def shard(file: str, count: int) -> Shard:
        (folder / file).parent.mkdir()
        documents = [
            np.append(5 + (random.integers(195) + random.integers(0, 3, size).cumsum()) % 195, VOCAB.sep)
            for size in random.integers(5, 60, count)
        ]
        tokens = np.concatenate(documents).astype("<u2").tobytes()
        ends = np.cumsum([document.size for document in documents]).astype("<u8").tobytes()
        for path, content in ((folder / file, tokens), (folder / f"{file}.index", ends)):
            path.write_bytes(content)
        sums = [hashlib.sha256(content).hexdigest() for content in (tokens, ends)]
        return Shard(file, len(tokens) // 2, count, sums[0], sums[1], 1.0)

    Manifest(
        dtype="uint16",
        vocab=VOCAB,
        tokenizer_sha256="",
        train=(shard("train/00000.ds", 150),),
        validation=(shard("validation/00000.ds", 40),),
        sources=(Source("by hand", 1.0, 190, 5000),),
        validation_share=0.2,
        split="by hand",
        frequencies_sha256="",
    ).save(folder)
    tokens = np.fromfile(folder / "train/00000.ds", "<u2")
    np.save(folder / "frequencies.npy", np.bincount(tokens, minlength=VOCAB.size))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")  # training copies it and does not read it
    return folder


def with_tokenizer(folder: Path) -> Path:
    """The same data folder with a tokenizer that loads: a word for every id."""
    from transformers import BertTokenizerFast  # costs a second, which a process that only trains need not spend

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(5, VOCAB.size))]
    shutil.rmtree(folder / "tokenizer")
    BertTokenizerFast(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder / "tokenizer")
    return folder


PAIRS = Pairs.Config()


def tiny(
    system: System.Config = ELECTRA, steps: int = 200, packing: Packing.Config | None = None, **fields: Any
) -> Run:
    """A run of milliseconds a step. Its log, evaluation and save steps divide neither each other nor the steps."""
    run = Run(
        system,
        recipe="tiny",
        steps=steps,
        batch=8,
        length=16,
        log_every=7,
        eval_every=45,
        eval_rows=16,
        save_every=10,
        packing=packing or Full.Config(),
        optim=Adam(lr=2e-3, warmup=20),
        compute=Compute(device="cpu", dtype="float32", compile=False, threads=1),
    )
    return replace(run, **fields)


def process(run: Run, data: Path, out: Path, *at: int | str) -> Forked:
    """Train in a process of its own.

    at: a step and names of signals, which the process sends to itself when so many steps are made: a test then never
        has to guess when to strike

    It leaves with 128 + the signal after SIGTERM or Ctrl-C, with 2 and the line on bad input.
    """
    settings = out.with_name(f"{out.name}.json")
    settings.write_text(json.dumps(run.to_json()))
    return Forked(main, str(settings), str(data), str(out), *map(str, at), log=out.with_name(f"{out.name}.log"))


def finish(running: Forked, code: int = 0) -> str:
    """Wait for a process, check how it left, and return what it said."""
    _, said = running.communicate(timeout=300)
    assert running.returncode == code, said
    return said


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint."""
    return {
        f"{name}: {key}": tensor
        for name in ("model", "optimizer")
        for key, tensor in load_file(checkpoint / f"{name}.safetensors").items()
    }


def last(out: Path) -> Path:
    """The newest checkpoint of a run."""
    return max((out / "checkpoints").glob("step-*"))


def metrics(out: Path, without: Iterable[str] = TIMING) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the fields that a clock decides."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in without} for line in lines]


def assert_same(one: Path, other: Path) -> None:
    """Two runs ended in the same weights, optimizer and state, bit for bit, and wrote the same metrics."""
    a, b = weights(last(one)), weights(last(other))
    assert last(one).name == last(other).name and a.keys() == b.keys() and len(a) > 40
    assert {tensor.dtype for tensor in a.values() if tensor.is_floating_point()} == {torch.float32}
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different
    assert (last(one) / "state.json").read_text() == (last(other) / "state.json").read_text()
    assert metrics(one) == metrics(other)
    assert (one / "samples.jsonl").read_text() == (other / "samples.jsonl").read_text()


def at_step(
    number: int, act: Callable[[torch.optim.Optimizer], None]
) -> Callable[[Adam, torch.optim.Optimizer, int, int], dict[str, float]]:
    """In place of `Adam.set_rate`, which the loop calls before every step: acts when `number` steps are made."""
    made = iter(range(sys.maxsize))
    before = Adam.set_rate

    def set_rate_and_act(self: Adam, optimizer: torch.optim.Optimizer, step: int, steps: int) -> dict[str, float]:
        if next(made) == number:
            act(optimizer)
        return before(self, optimizer, step, steps)

    return set_rate_and_act


def strike(*signals: int) -> Callable[[object], None]:
    """Sends signals to this process."""

    def act(_: object) -> None:
        for number in signals:
            os.kill(os.getpid(), number)

    return act


def main(settings: str, data: str, out: str, *at: str) -> int:
    """What the process does."""
    if at:
        Adam.set_rate = at_step(int(at[0]), strike(*(signal.Signals[name] for name in at[1:])))
    try:
        train.pretrain(Run.from_json(json.loads(Path(settings).read_text())), Path(data), Path(out), "the command")
    except Stopped as stopped:
        return 128 + stopped.number
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
