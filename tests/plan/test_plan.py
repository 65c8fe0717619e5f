"""`electrain plan`: what it prints, and what it refuses."""

import re
from collections.abc import Callable
from functools import cache
from typing import get_args, get_type_hints

import pytest

from electrain.cli import main
from electrain.plan import needs, show
from electrain.plan.gpus import GPUS
from electrain.plan.settings import Plan

_needs = cache(needs.needs)


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step needs is measured once for all tests: `test_needs.py` tests the measuring."""
    monkeypatch.setattr(show, "needs", _needs)


@pytest.fixture
def give(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    def call(line: str) -> str:
        main(["plan", *line.split()])
        return capsys.readouterr().out

    return call


def figures(text: str, row: str) -> list[float]:
    line = next(line for line in text.splitlines() if row in line)
    return [
        float(number.replace(",", "")) for number in re.findall(r"[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?", line.split(row)[1])
    ]


def test_the_gpus_that_can_be_named_are_those_of_the_table() -> None:
    assert get_args(get_type_hints(Plan)["gpu"]) == tuple(GPUS)


def test_both_ways_side_by_side(give: Callable[[str], str]) -> None:
    text = give("electra_tiny --gpus 16 --gpu h100 --price 200 --vocab-size 2003 --steps 1000000")
    assert "electra_tiny on 16 H100 in 2 machines: 1,000,000 steps of 32 rows of 64 tokens" in text
    assert "Computed, not measured: no GPU has been measured yet." in text
    ddp, fsdp = figures(text, "optimizer: Adam's two means")[-2:]
    assert ddp == pytest.approx(8 * 1151828 / 2**30, abs=1e-3) and fsdp < ddp / 8
    hours, cost, days = (figures(text, row)[-2:] for row in ("GPU-hours", "cost at 200 an hour", "days "))
    for number in range(2):
        assert cost[number] == pytest.approx(200 * hours[number], rel=0.02)
        assert hours[number] == pytest.approx(days[number] * 24 * 16, rel=0.3)  # days have two places


def test_one_way_and_a_share_of_the_peak(give: Callable[[str], str]) -> None:
    text = give("electra_tiny --gpus 1 --gpu a100 --parallel ddp --mfu 0.01 --batch 1024 --vocab-size 2003")
    assert "FSDP2" not in text and "cost" not in text and "Computing at 1% of the peak (--mfu)." in text
    assert figures(text, "share of the peak matrix rate")[0] == pytest.approx(1.0, abs=0.1)


def test_a_stage_before_it_has_tables_of_its_own(give: Callable[[str], str]) -> None:
    text = give("electra_two_stage --size tiny --gpus 2 --vocab-size 2003 --parallel ddp")
    assert text.count("Time of a step, and the run") == 2


def test_a_run_that_grows_takes_as_long_as_its_tokens(give: Callable[[str], str]) -> None:
    """Half of the steps grow from a quarter of the rows: 1/4, 2/4 and 3/4 for a sixth each."""
    line = "electra_tiny --gpu h100 --vocab-size 2003 --parallel ddp --steps 60000000 --accumulate 4"
    whole, grown = give(line), give(f"{line} --growth.rows 8 --growth.rows-until 0.5")
    assert "--growth" not in whole and "Memory and step: of a whole batch (--growth has grown)" in grown
    assert figures(grown, "a step, ms") == figures(whole, "a step, ms")
    assert figures(grown, "GPU-hours")[0] == pytest.approx(0.75 * figures(whole, "GPU-hours")[0], rel=0.01)


def test_rows_that_are_read_in_groups(give: Callable[[str], str]) -> None:
    """coco_lm contrasts groups of 32 rows, and no other number of rows can be measured."""
    assert "rows of the largest that fits" in give("coco_lm --size tiny --vocab-size 2003 --parallel ddp")


def test_a_v100_multiplies_in_float32(give: Callable[[str], str]) -> None:
    text = give("electra_tiny --gpu v100 --vocab-size 2003 --parallel ddp")
    assert "bfloat16" not in text and "V100: 16 TFLOP/s" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "name a recipe first"),
        ("electra_tiny --gpu h300", "invalid choice 'h300'"),
        ("electra_tiny --gpus 0", "--gpus 0: choose 1 or more"),
        ("electra_tiny --gpus 64", "--gpus 64: more than the 32 rows of a step"),
        ("electra_tiny --mfu 30", "--mfu 30.0: choose a share"),
        ("electra_tiny --price -1", "--price -1.0: choose 0 or more"),
        ("electra_tiny --network 0", "--network 0.0: choose a positive number"),
        ("electra_tiny --vocab-size 0", "--vocab-size 0"),
        ("electra_tiny --steps 0", "steps is 0"),
    ],
)
def test_bad_input_gets_one_line(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["plan", *line.split()])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1 and words in err, err
