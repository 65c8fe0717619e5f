"""A checkpoint is whole or not there: damage is found and named, and no failure touches the ones before it."""

import json
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from electrain import checkpoint
from electrain.batch import Batch
from electrain.errors import UserError
from electrain.optim.adam import Adam
from electrain.randomness import row_keys
from electrain.system import System
from tests.training import ELECTRA, VOCAB, one_thread  # noqa: F401 - a fixture

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "checksums.json")


def trained(steps: int, config: System.Config = ELECTRA) -> tuple[System, torch.optim.AdamW]:
    """A system and its optimizer after so many steps."""
    torch.manual_seed(1)
    system = config.build(VOCAB)
    optimizer = Adam(lr=1e-2).build(system)
    for step in range(steps):
        ids = torch.randint(5, VOCAB.size, (2, 12))
        yes = torch.ones_like(ids, dtype=torch.bool)
        batch = Batch(ids, torch.zeros_like(ids), yes, yes, row_keys(0, step, torch.arange(2)))
        system(batch, torch.tensor(0.0)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return system, optimizer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints of the steps 10 and 20."""
    for step in (10, 20):
        checkpoint.save(tmp_path, step, *trained(step // 10), {"window": {}, "best": None})
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_what_is_saved_is_loaded(run: Path) -> None:
    one, optimizer = trained(2)
    other, fresh = trained(0)
    assert checkpoint.load(run / "checkpoints" / "step-000020", other, fresh) == {
        "step": 20,
        "window": {},
        "best": None,
    }
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert optimizer.state[a].keys() == fresh.state[b].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(optimizer.state[a][field], fresh.state[b][field]) for field in optimizer.state[a])
    assert checkpoint.latest(run, pytest.fail) == run / "checkpoints" / "step-000020"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("hurt", [flip, truncate, empty, Path.unlink])
def test_a_damaged_one_is_named_and_the_one_before_it_is_used(
    run: Path, file: str, hurt: Callable[[Path], None]
) -> None:
    hurt(run / "checkpoints" / "step-000020" / file)
    if (file, hurt) == ("checksums.json", truncate):  # cut by its last byte alone it is no JSON any more
        assert not (run / "checkpoints" / "step-000020" / file).read_text().endswith("}")
    said: list[str] = []
    assert checkpoint.latest(run, said.append) == run / "checkpoints" / "step-000010"
    assert len(said) == 1 and "step-000020: damaged (" in said[0] and "the checkpoint before it is used" in said[0]
    if file != "checksums.json":
        assert file in said[0]
    hurt(run / "checkpoints" / "step-000010" / file)
    assert checkpoint.latest(run, said.append) is None and "step-000010" in said[-1]


def test_what_a_crash_left_is_no_checkpoint_and_is_swept(run: Path) -> None:
    folder = run / "checkpoints"
    before = snapshot(folder)
    for name in (".writing-000030", ".deleting-step-000005"):
        checkpoint.shutil.copytree(folder / "step-000020", folder / name)
    (folder / ".best.json.123").write_text("half")
    (folder / "step-000020-mine").mkdir()  # a person's own copy is neither read nor deleted
    assert checkpoint.latest(run, pytest.fail) == folder / "step-000020"
    checkpoint.sweep(run, 20)
    assert snapshot(folder) == before
    checkpoint.sweep(run, 10)
    assert sorted(path.name for path in folder.iterdir()) == ["step-000010", "step-000020-mine"]


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    state = trained(0)
    (tmp_path / "checkpoints" / "step-000001-mine").mkdir(parents=True)
    for step in (5, 99, 1_000_000, 30, 1_000_001):
        checkpoint.save(tmp_path, step, *state, {})
    assert [path.name for path in checkpoint.listed(tmp_path)] == [
        *("step-000005", "step-000030", "step-000099", "step-1000000", "step-1000001")
    ]
    checkpoint.prune(tmp_path, 2, "step-000030")
    left = [*("step-000001-mine", "step-000030", "step-1000000", "step-1000001")]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == left
    checkpoint.prune(tmp_path, 1, None)
    assert [path.name for path in checkpoint.listed(tmp_path)] == ["step-1000001"]


def test_the_best_is_found_and_the_latest_stands_in_for_it(run: Path) -> None:
    folder, said = run / "checkpoints", []
    assert checkpoint.best(run, said.append) == folder / "step-000020"  # none is marked yet
    best = {"loss": 1.0, "checkpoint": "step-000010"}
    checkpoint.save(run, 30, *trained(0), {"window": {}, "best": best})
    assert checkpoint.best(run, said.append) == folder / "step-000010" and not said
    flip(folder / "step-000010" / "model.safetensors")
    assert checkpoint.best(run, said.append) == folder / "step-000030"
    assert "step-000010: damaged" in said[0] and "instead of the best" in said[0]


def in_child(act: Callable[[], None]) -> int:
    """Do something in a copy of this process; how it left, as `os.waitstatus_to_exitcode`: 3 after a UserError."""
    child = os.fork()
    if child == 0:
        code = 4
        try:
            act()
            code = 0
        except UserError as error:
            code = 3 if "cannot be written" in str(error) and "earlier ones are untouched" in str(error) else 5
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_at_any_moment_of_writing_leaves_the_old_or_the_new_one_whole(run: Path) -> None:
    system, optimizer = trained(0)
    old, new = run / "checkpoints" / "step-000020", run / "checkpoints" / "step-000030"
    sync, found = checkpoint.sync, []

    def save_and_die(moment: int) -> None:
        left = iter(range(moment))

        def dying(path: Path) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(path)

        checkpoint.sync = dying
        checkpoint.save(run, 30, system, optimizer, {"window": {}, "best": None})

    for moment in range(4):  # at the sync of each of three files, and of the folder after the rename
        assert in_child(lambda: save_and_die(moment)) == -signal.SIGKILL  # noqa: B023 - it is called at once
        found.append(checkpoint.latest(run, pytest.fail))
        checkpoint.sweep(run, 20)
        assert checkpoint.damage(old) is None and not list((run / "checkpoints").glob(".*"))
    assert found == [old, old, old, new]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("room", [0, 100, 20_000, 10**9])
def test_a_full_disk_is_told_and_the_older_ones_stay_good(run: Path, room: int) -> None:
    before = snapshot(run)

    def save() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # no file may grow beyond this
        checkpoint.save(run, 30, *trained(0), {"window": {}, "best": {"loss": 1.0, "checkpoint": "step-000020"}})

    fits = room == 10**9
    assert in_child(save) == (0 if fits else 3)
    if not fits:
        assert snapshot(run) == before
    assert checkpoint.latest(run, pytest.fail) == run / "checkpoints" / ("step-000030" if fits else "step-000020")


@pytest.mark.parametrize("name", ["save_file", "write", "sync"])
def test_a_failing_write_is_told_and_the_older_ones_stay_good(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, name, fail)
    before = snapshot(run)
    with pytest.raises(UserError, match=r"step-000030: the checkpoint cannot be written \(No space left on device\)"):
        checkpoint.save(run, 30, *trained(0), {})
    assert snapshot(run) == before


def test_another_model_is_refused_and_stays_as_it_was(run: Path) -> None:
    path = run / "checkpoints" / "step-000020"
    wider = replace(ELECTRA, encoder=replace(ELECTRA.encoder, ffn=96))
    deeper = replace(ELECTRA, encoder=replace(ELECTRA.encoder, layers=3))
    for config, reason in ((wider, r"is \(64, 32\), the model has \(96, 32\)"), (deeper, "does not fit the model")):
        system, _ = trained(0, config)
        kept = {name: tensor.clone() for name, tensor in checkpoint.weights(system).items()}
        with pytest.raises(UserError, match=reason):
            checkpoint.load_weights(system, path)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in checkpoint.weights(system).items())


def test_shared_tensors_are_saved_once_and_stay_shared(run: Path) -> None:
    path = run / "checkpoints" / "step-000020"
    saved = load_file(path / "model.safetensors")
    system, optimizer = trained(0)
    tables = [name for name, tensor in saved.items() if tensor.shape == system.encoder.tokens.weight.shape]
    assert tables == ["encoder.embeddings.tokens.weight"]
    assert sum(tensor.numel() for tensor in saved.values()) == sum(tensor.numel() for tensor in system.parameters())
    checkpoint.load(path, system, optimizer)
    names = [n for n, p in system.named_parameters(remove_duplicate=False) if p is system.encoder.tokens.weight]
    assert names == ["encoder.embeddings.tokens.weight", "corruptor.generator.encoder.embeddings.tokens.weight"]
    assert torch.equal(system.encoder.tokens.weight, saved[tables[0]])
    state = json.loads((path / "checksums.json").read_text())
    assert sorted(state) == sorted(FILES[:3])
