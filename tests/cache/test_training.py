"""A run from a cache: through the command line; and that it replaces what the full softmax would."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from electrain.batch import Batch
from electrain.cache.temper import entry
from electrain.corruptors.cached import Cached
from electrain.curriculum import Schedule
from electrain.data.examples import Full
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.hub.source import Folders
from electrain.metrics import read
from electrain.randomness import row_keys
from electrain.recipes.fast_electra_cached import fast_electra_cached
from electrain.recipes.sizes import TINY
from tests.cache.conftest import Command, cache
from tests.training import ENCODER, VOCAB, metrics, one_thread  # noqa: F401 - a fixture

RECIPE = """
from dataclasses import replace
from electrain.corruptors.cached import Cached
from electrain.objectives.rtd import Rtd
from electrain.run import Run
from electrain.system import System
from tests.training import ENCODER, tiny

def mine() -> Run:
    return tiny(System.Config(ENCODER, Cached.Config(), Rtd.Config(), weight=50.0), 12, log_every=4, eval_every=6)
"""


@pytest.fixture(scope="module")
def made(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from electrain.cli import main

    out = tmp_path_factory.mktemp("made") / "cache"
    main(cache(world, out, "--top-k", 32))
    return out


def test_from_the_command_line(world: Path, made: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "my_cached.py").write_text(RECIPE)
    words = ["pretrain", f"{tmp_path / 'my_cached.py'}:mine", "--data", world / "data", "--out", tmp_path / "run"]
    code, said = command(*words)
    assert code == 2 and said.count("\n") == 1
    assert "--system.corruptor.cache DIR; make one with: electrain cache RUN --data" in said
    mine = tmp_path / "cache"
    shutil.copytree(made, mine)
    words += ["--system.corruptor.cache", mine]
    code, said = command(*words, "--length", 12)
    assert code == 2 and said.count("\n") == 1 and "rows of 16 tokens, not 12" in said
    code, said = command(*words, "--growth.length", 8)
    assert code == 2 and said.count("\n") == 1 and "leave out --growth.length" in said
    assert not (tmp_path / "run").exists()
    code, said = command(*words)
    assert code == 0 and f"proposals from {mine}" in said
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [6, 12]
    assert all(0.02 < line["replaced"] < 0.15 for line in lines)
    (command(*cache(world, tmp_path / "other", "--seed", 1)))
    shutil.rmtree(mine)
    shutil.copytree(tmp_path / "other", mine)
    code, said = command(*words)
    assert code == 2 and "is not the cache that this run was begun with" in said and said.count("\n") == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["run"]["system"]["corruptor"]["top"] == 32


def test_it_replaces_what_the_full_softmax_would() -> None:
    """At every temperature as often, and less often as it falls."""
    rows, now = 4000, torch.arange(4000)
    ids = torch.randint(5, VOCAB.size, (rows, 16))
    place = torch.stack([1 + now % 7, 8 + now % 7], 1)
    right = torch.nn.functional.one_hot(ids.gather(1, place), VOCAB.size)
    logits = torch.randn(rows, 2, VOCAB.size) * 2 + 7 * right
    true = torch.ones_like(ids, dtype=torch.bool)
    beside = (place, *entry(logits, 32))
    batch = Batch(ids, torch.zeros_like(ids), true, true, row_keys(0, 0, now), beside)
    config = Cached.Config(slots=2, top=32, temperature=Schedule("linear", start=2.0, end=1.0))
    encoder = ENCODER.build(VOCAB)
    corruptor = config.build(VOCAB, encoder)
    corruptor.weight.fill_(1 / VOCAB.size)
    wrong = []
    for progress, temperature in ((0.0, 2.0), (0.5, 1.5), (1.0, 1.0)):
        found = read(corruptor(batch, encoder, torch.tensor(progress)).metrics)
        full = 1 - (torch.softmax(logits / temperature, -1) * right).sum(-1).mean().item()
        assert 1 - found["sampled_right"] == pytest.approx(full, abs=0.02)
        assert found["replaced"] == pytest.approx(full / 8, abs=0.003) and found["temperature"] == temperature
        wrong.append(full)
    assert wrong[0] > wrong[1] + 0.1 > wrong[2] + 0.2 and not list(corruptor.parameters())


def test_a_special_token_is_left_alone_whatever_the_file_says(world: Path, made: Path) -> None:
    source = Folders(world / "data")
    packing = Full.Config().build(Shards.open(world / "data"), 16)
    config = Cached.Config(str(made)).resolve(source)
    corruptor = config.build(VOCAB, ENCODER.build(VOCAB))
    corruptor.start(source, ENCODER.build(VOCAB))
    (batch,) = Loader(packing, VOCAB, batch=100, seed=1, reader=config.reader(source, packing)).step(0)
    place, *kept = batch.extra
    place = place.clone()
    place[:, 0] = 15  # [SEP]
    seen = corruptor(batch._replace(extra=(place, *kept)), ENCODER.build(VOCAB), torch.tensor(0.0))
    assert torch.equal(seen.ids[:, 15], batch.ids[:, 15]) and not seen.replaced[~batch.maskable].any()
    assert not seen.picked.valid[:, 0].any() and seen.replaced.any()


def test_the_generator_costs_nothing() -> None:
    run = fast_electra_cached(TINY)
    cached = run.system.build(VOCAB)
    parts = {work.part for work in cached.cost(run.length, VOCAB.size)}
    assert not any("generator" in part or "corruptor" in part for part in parts)
