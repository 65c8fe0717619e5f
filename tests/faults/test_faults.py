"""The short version of benchmarks/faults.py: the same cases, fewer tries; what a loss is, is decided there."""

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults import damage, disks, kills, memory, two
from benchmarks.faults.process import Command
from benchmarks.faults.world import Outcome, World, contents, differing, last, one_line

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")


def passed(outcome: Outcome, tries: int) -> None:
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.lost, "\n".join(outcome.lost)
    assert outcome.tries == tries


def test_killed_at_any_instant_a_run_ends_the_same(world: World) -> None:
    passed(kills.pretrain(world, 4, steps=24), 4)


def test_stopped_by_a_signal_a_run_ends_the_same(world: World) -> None:
    passed(kills.stopped(world, 3, steps=24), 3)


@pytest.mark.slow
def test_a_checkpoint_that_is_damaged_in_any_file_is_named_and_the_one_before_is_used(world: World) -> None:
    passed(damage.checkpoint(world, 1), 17)


@pytest.mark.slow
def test_a_whole_checkpoint_of_another_run_is_refused(world: World) -> None:
    passed(damage.exchanged(world, 2), 2)


@pytest.mark.slow
def test_a_run_folder_that_is_damaged_in_any_file(world: World) -> None:
    assert not damage.run_folder(world, 1).lost


@pytest.mark.slow
def test_data_that_are_damaged_in_any_file_are_never_trained_on(world: World) -> None:
    outcome = damage.data(world, 1)
    assert not outcome.lost and outcome.tries > 60 and outcome.notes["refused in one line"] > 30


@pytest.mark.slow
def test_a_cache_that_is_damaged_in_any_file_is_never_trained_on(world: World) -> None:
    outcome = damage.cache(world, 1)
    assert not outcome.lost and outcome.notes["refused in one line"] > 10


def test_no_room_for_a_checkpoint(world: World) -> None:
    passed(disks.limited(world, 1), 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", [disks.limited, disks.full, disks.read_only])
def test_disks_that_refuse(world: World, case: Callable[[World, int], Outcome]) -> None:
    passed(case(world, 5), 5)


@pytest.mark.parametrize(
    "name",
    [
        "pretrain",
        "prepare",
        pytest.param("cache", marks=pytest.mark.slow),
        pytest.param("finetune", marks=pytest.mark.slow),
        pytest.param("study", marks=pytest.mark.slow),
    ],
)
def test_the_second_on_one_folder_is_refused(world: World, name: str) -> None:
    passed(two.refused(world, 1, [name]), 1)


def test_a_file_where_the_folder_should_be(world: World) -> None:
    passed(disks.file(world, 1), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prepare", "cache", "finetune"])
def test_other_verbs_killed_at_any_instant_end_the_same(world: World, name: str) -> None:
    passed(kills.verb(world, 2, name), 2)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(world: World) -> None:
    passed(memory.sparse(world, 1), 2)


# --- a loss is seen: the judges above, on outcomes that are wrong


def test_the_judges_see_a_loss(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, other, cut = damage._runs(world)
    assert differing(whole, whole) == "" and differing(whole, other).startswith("another model.safetensors")
    assert differing(whole, cut).startswith("ends at step-")
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join([*lines, lines[-1]]))  # a step twice
    assert differing(whole, copy).startswith("other metrics")
    assert dict(contents(copy)) != dict(contents(whole)) == dict(contents(whole))
    assert one_line("a\nelectrain: wrong\n") == "electrain: wrong"
    assert not one_line("electrain: wrong\nTraceback") and not one_line("electrain: a\nelectrain: b")
    # A program that does not look at its checkpoints: cutting one must be a loss.
    monkeypatch.setattr(world, "call", lambda words: (0, "going on"))
    assert damage._went_on(world, [], whole, copy, {}).startswith("other metrics")
    monkeypatch.setattr(world, "call", lambda words: (1, "Traceback"))
    assert damage._went_on(world, [], whole, copy, {}).startswith("exit code 1")
    monkeypatch.setattr(world, "call", lambda words: (0, "all is well"))
    assert disks._judged(world, "pretrain", whole, 0, "all is well")


def test_a_flip_is_one_bit(world: World, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(50):
        path.write_bytes(before := os.urandom(100))
        damage.hurt(world, path, "flipped", path)
        changed = int.from_bytes(before, "big") ^ int.from_bytes(path.read_bytes(), "big")
        assert changed and math.log2(changed).is_integer()


def test_a_command_is_a_process_of_its_own(world: World) -> None:
    running = Command(["recipes"], world.folder / "log")
    assert running.pid != os.getpid() and running.wait() == 0 and "electra_tiny" in running.said
    assert world.call(["pretrain", "nope"])[0] == 2
    assert last(damage._runs(world)[0]).name == "step-000020"
