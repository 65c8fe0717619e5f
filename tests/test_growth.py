"""Updates that grow: how many rows each step reads, of which length, and that a run of them is exact all the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.flops import count
from electrain.growth import Growth, Part
from electrain.hub.source import Folders
from electrain.loading import training
from electrain.report.history import histories
from electrain.train import pretrain
from tests.training import (
    BERT,
    assert_same,
    finish,
    last,
    make_data,
    one_thread,  # noqa: F401 - a fixture
    process,
    tiny,
    weights,
)

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "data")


@pytest.mark.parametrize("rows, until, steps", [(8, 0.3, 100), (4, 1.0, 37), (16, 0.5, 3), (32, 0.5, 10), (0, 0.5, 10)])
def test_rows_grow_in_even_stages_to_the_batch(rows: int, until: float, steps: int) -> None:
    growth, batch = Growth(rows=rows, rows_until=until), 32
    before = [growth.before(step, steps, batch) for step in range(steps + 1)]
    sizes = np.diff(before)
    growing = round(until * steps)
    stages = batch // rows if rows else 1
    expected = [
        rows * (1 + step * (stages - 1) // growing) if stages > 1 and step < growing else batch for step in range(steps)
    ]
    assert before[0] == 0 and sizes.tolist() == expected


def test_a_run_reads_what_its_parts_say() -> None:
    growth = Growth(rows=8, rows_until=0.5, length=16, length_until=0.25)
    short, full = growth.parts(steps=40, batch=16, length=64)
    # 20 steps of 8 rows and 20 of 16; the first 10 are cut in rows of a quarter of the length
    assert short == Part(16, 10 * 8 * 4) and full == Part(64, 10 * 8 + 20 * 16)
    assert list(Growth().parts(40, 16, 64)) == [Part(64, 640)]


@pytest.mark.parametrize("accumulate", [4, 2])
def test_steps_hold_those_rows(data: Path, accumulate: int) -> None:
    run = tiny(steps=20, accumulate=accumulate, growth=Growth(4, 0.5, 4, 0.25))
    shards = Shards.open(data)
    loader = training(run, shards, Folders(data))
    rows = {step: sum(len(batch.ids) for batch in loader.step(step)) for step in range(20)}
    assert rows == {**dict.fromkeys(range(5), 16), **dict.fromkeys(range(5, 10), 4), **dict.fromkeys(range(10, 20), 8)}
    for step in range(20):
        batches = loader.step(step)
        assert {batch.ids.shape[1] for batch in batches} == {4 if step < 5 else 16}
        assert {len(batch.ids) for batch in batches} == {8 // accumulate * (4 if step < 5 else 1)}
    # The grown run goes on in the corpus where it was: no row of an epoch is read twice.
    seen = np.concatenate([loader.rows(step)[0] for step in range(5, 20)])
    epochs = np.concatenate([loader.rows(step)[1] for step in range(5, 20)])
    assert len({*zip(seen.tolist(), epochs.tolist(), strict=True)}) == seen.size == 5 * 4 + 10 * 8


def test_operations_and_tokens_are_those_of_its_rows() -> None:
    run = tiny(steps=20, accumulate=4, growth=Growth(rows=2, rows_until=0.5))
    plain = count(replace(run, growth=Growth()), 64).plain_total
    grown = count(run, 64).plain_total
    read = sum(run.growth.before(step + 1, 20, 8) - run.growth.before(step, 20, 8) for step in range(20))
    assert grown.token == plain.token and grown.step == plain.step
    assert grown.run == pytest.approx(plain.run * read / 160) and run.tokens(20) == read * run.length
    short = count(replace(run, growth=Growth(length=run.length // 4, length_until=1.0)), 64).plain_total
    assert 0.5 * plain.run < short.run < plain.run  # as many tokens, cheaper attention


@pytest.mark.parametrize(
    "growth, field",
    [
        (Growth(rows=3), "rows"),
        (Growth(rows=2), "rows"),  # a micro-batch has four
        (Growth(length=5), "length"),
    ],
)
def test_what_does_not_go_into_the_run_is_refused(growth: Growth, field: str) -> None:
    with pytest.raises(UserError, match=f"growth: {field} is"):
        tiny(accumulate=2, growth=growth)


@pytest.mark.parametrize("values", [{"rows": -1}, {"rows_until": 0.0}, {"length_until": 1.5}, {"length": -4}])
def test_numbers_without_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match="growth: "):
        Growth(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [4, 9])  # amid the short rows; amid the stages
def test_killed_and_gone_on_with_is_never_killed(data: Path, tmp_path: Path, step: int) -> None:
    run = tiny(steps=16, accumulate=4, growth=Growth(2, 0.75, 4, 0.4), log_every=3, save_every=2)
    pretrain(run, data, tmp_path / "whole")
    finish(process(run, data, tmp_path / "cut", step, "SIGKILL"), -9)
    pretrain(run, data, tmp_path / "cut")
    assert_same(tmp_path / "cut", tmp_path / "whole")
    (seen,) = histories((tmp_path / "cut",))
    assert seen.spent.tokens == run.tokens(16) < 16 * 8 * 16
    assert seen.whole(step) == pytest.approx(run.tokens(step) / (8 * 16), abs=0.2)


def test_micro_batches_are_averaged(data: Path, tmp_path: Path) -> None:
    """Cut finer, the updates of a run that grows are the same."""
    run = tiny(BERT, steps=8, accumulate=2, growth=Growth(4, 0.75, 8, 0.4), log_every=1)
    for name, accumulate in (("two", 2), ("eight", 8)):
        pretrain(replace(run, accumulate=accumulate), data, tmp_path / name)
    two, eight = (weights(last(tmp_path / name)) for name in ("two", "eight"))
    for name, tensor in two.items():
        torch.testing.assert_close(tensor, eight[name], rtol=2e-3, atol=2e-5, msg=name)
