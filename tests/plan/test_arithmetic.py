"""Memory, links, speed and their sum against figures worked out by hand."""

from dataclasses import replace

import pytest

from electrain.errors import UserError
from electrain.plan.device import USABLE, held, most
from electrain.plan.forecast import forecast
from electrain.plan.gpus import GPUS, Gpu
from electrain.plan.links import HOP, LEVEL, REACHED, Links
from electrain.plan.speed import KERNELS, LAUNCH, MOVES, PRODUCTS, STREAM, UPDATE, computing, peak, updating
from tests.plan.made import NEEDS

GPU = Gpu("made", 1e12, 1e11, 100_000, 1e9, 1e8, 4, 1e7)  # 4 in a machine; links of 100 and 10 MB/s


def test_ddp_holds_everything_whole() -> None:
    one = held(NEEDS, "ddp", 8, 3)
    assert (one.parameters, one.gradients, one.adam, one.passing) == (4000, 3600, 7200, 1600)
    assert one.total == 4000 + 3600 + 7200 + 1600 + 3 * 8000
    assert held(NEEDS, "ddp", 1, 3) == held(NEEDS, "ddp", 1024, 3, parts=5) == one


def test_fsdp_holds_a_share_and_gathers_layer_by_layer() -> None:
    """Root of 200 and two layers of 200, two bytes each, and their gradients."""
    one = held(NEEDS, "fsdp", 8, 3)
    assert (one.parameters, one.gradients, one.adam) == (500, 450, 900)
    assert one.passing == 2 * (200 + 2 * 200) * 2
    assert held(NEEDS, "fsdp", 8, 3, parts=2).gradients == 450 + 3600  # kept whole until the last micro-batch
    assert held(replace(NEEDS, dtype="float32"), "fsdp", 8, 3).passing == 2 * one.passing


def test_the_largest_micro_batch_just_fits() -> None:
    for kind in ("ddp", "fsdp"):
        rows = most(NEEDS, kind, 8, GPU)
        assert held(NEEDS, kind, 8, rows).total <= USABLE * GPU.memory < held(NEEDS, kind, 8, rows + 1).total
    assert most(NEEDS, "fsdp", 8, GPU) > most(NEEDS, "ddp", 8, GPU)
    assert most(NEEDS, "ddp", 8, replace(GPU, memory=15_000)) == 0


def test_collectives_by_hand() -> None:
    """4 devices: three quarters of the data pass each link, twice for an all-reduce; and three hops of latency."""
    inside = Links(GPU, 4)
    assert inside.share(8e6) == pytest.approx(0.75 * 8e6 / (REACHED * 1e8) + 3 * HOP)
    assert inside.reduce(8e6) == 2 * inside.share(8e6)
    assert Links(GPU, 1).reduce(8e6) == 0
    across = Links(GPU, 16)
    assert across.machines == 4 and across.bandwidth == REACHED * 4e7  # four cards of 10 MB/s in each machine
    assert across.share(8e6, 3) == pytest.approx(15 / 16 * 8e6 / (REACHED * 4e7) + 3 * (3 * HOP + 2 * LEVEL))
    assert Links(GPU, 16, network=1e9).bandwidth == REACHED * 1e8  # the links in the machine are slower now
    assert Links(GPU, 5).machines == 2


def test_computing_by_hand() -> None:
    """64 rows: 64e9 operations, four passes over 384 kB, and the kernels of 10 products."""
    kernels = LAUNCH * KERNELS * 10
    expected = 64e9 / (PRODUCTS * 1e12) + MOVES * 64 * 6000 / (STREAM * 1e9) + kernels
    assert computing(NEEDS, 64, GPU) == pytest.approx(expected)
    assert computing(NEEDS, 64, GPU, mfu=0.25) == pytest.approx(64e9 / 0.25e12)
    assert computing(replace(NEEDS, operations=0.0, saved=0.0), 64, GPU) == kernels
    assert peak(replace(NEEDS, dtype="float32"), GPU) == 1e11
    assert updating(NEEDS, GPU, 4) == UPDATE * 225 / (STREAM * 1e9)


def test_a_step_is_the_sum_of_its_parts() -> None:
    links = Links(replace(GPU, memory=10**9), 4)
    for kind in ("ddp", "fsdp"):
        plan = forecast(NEEDS, kind, links)
        assert plan is not None and (plan.rows, plan.parts) == (16, 1)
        assert plan.step == plan.computing + plan.waiting + plan.updating
        assert plan.tokens == pytest.approx(640 / plan.step)
        assert plan.days == pytest.approx(1000 * plan.step / 86400)
        assert plan.hours == pytest.approx(1000 * plan.step / 3600 * 4)
        assert plan.share == pytest.approx(64e9 / 4 / plan.step / 1e12)
        assert 0 < plan.waiting <= plan.communicating


def test_ddp_hides_all_but_the_tables() -> None:
    """Behind an endless backward pass only the reduction of the tables is left; behind none, all of it shows."""
    links = Links(replace(GPU, memory=10**9), 4)
    long, short = (forecast(replace(NEEDS, operations=size), "ddp", links) for size in (1e15, 1.0))
    assert long is not None and short is not None
    assert long.waiting == links.reduce(400.0)
    assert long.communicating == short.communicating == links.reduce(3600.0)
    least = 2 / 3 * short.computing
    assert short.waiting == pytest.approx(max(links.reduce(3600.0) - least, links.reduce(400.0)))


def test_fsdp_gathers_for_every_micro_batch_and_scatters_once() -> None:
    links = Links(replace(GPU, memory=10**9), 4)
    one, four = (forecast(NEEDS, "fsdp", links, parts=parts) for parts in (1, 4))
    assert one is not None and four is not None
    gather = links.share(2.0 * 200) + 2 * links.share(2.0 * 800, 4)
    scatter = links.share(4.0 * 900, 5)
    assert one.communicating == pytest.approx(gather + scatter)
    assert four.communicating == pytest.approx(4 * gather + scatter)


def test_what_does_not_fit_at_once_is_done_in_parts() -> None:
    small = replace(GPU, memory=60_000)
    plan = forecast(NEEDS, "ddp", Links(small, 4))
    assert plan is not None
    limit = most(NEEDS, "ddp", 4, small)
    assert limit == plan.most == 4 and plan.parts == 4 and plan.held.rows == 4  # 16 rows of a device
    assert forecast(NEEDS, "ddp", Links(replace(GPU, memory=15_000), 4)) is None
    alone = forecast(replace(NEEDS, batch=21), "ddp", Links(small, 3))
    assert alone is not None and (alone.rows, alone.parts) == (7, 7)  # 7 rows in parts of one size of at most 4


def test_more_devices_than_rows_is_refused() -> None:
    with pytest.raises(UserError, match=r"--gpus 65: more than the 64 rows of a step.*larger --batch"):
        forecast(NEEDS, "ddp", Links(GPU, 65))
    assert forecast(NEEDS, "ddp", Links(GPU, 65), batch=128) is not None


def test_data_sheets_are_of_dense_rates() -> None:
    """H100 and H200 share a chip; a sheet's sparse rate would be twice this."""
    assert GPUS["h100"].bfloat16 == GPUS["h200"].bfloat16 == 989e12
    assert GPUS["a100"].bfloat16 == 312e12 and GPUS["v100"].bfloat16 == 0
    assert all(one.link >= one.network and one.memory > 10**10 for one in GPUS.values())
