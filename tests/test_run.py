"""run.json: what goes in comes out, nothing foreign comes in, and differences are named."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from electrain.compute import Compute
from electrain.data.examples import Packing, Pairs
from electrain.data.shards import Shards
from electrain.distributed import Parallel
from electrain.errors import UserError
from electrain.guard import Trouble
from electrain.optim.adam import Adam
from electrain.recipes import published
from electrain.run import FREE, Record, Run, differences, identity
from tests.training import BERT, ELECTRA, tiny

RUNS: dict[str, Callable[[], Run]] = {**published(), "tiny": tiny, "pairs": lambda: tiny(BERT, packing=Pairs.Config())}


@dataclass(frozen=True)
class Mine(Packing.Config):
    """A configuration of the user's own, with tuples in it."""

    sizes: tuple[int, ...] = (1, 2)
    share: float = 0.5

    def build(self, shards: Shards, length: int) -> Packing:
        raise NotImplementedError


def through_json(run: Run) -> Run:
    return Run.from_json(json.loads(json.dumps(run.to_json())))


@pytest.mark.parametrize("name", RUNS)
def test_every_recipe_comes_back(name: str) -> None:
    run = RUNS[name]()
    back = through_json(run)
    assert back == run and hash(back) == hash(run) and differences(run, back) == []
    assert type(back.track) is tuple and (not isinstance(back.optim, Adam) or type(back.optim.betas) is tuple)


def test_tuples_and_the_user_s_own_parts_come_back() -> None:
    run = tiny(packing=Mine((3, 4, 5)), track=("tensorboard", "wandb"), optim=Adam(betas=(0.5, 0.75)))
    back = through_json(run)
    assert back == run and hash(back) == hash(run)
    assert isinstance(back.packing, Mine) and back.packing.sizes == (3, 4, 5)
    assert back.track == ("tensorboard", "wandb") and back.optim.betas == (0.5, 0.75)


def changed(run: Run, path: str, value: Any) -> dict[str, Any]:
    tree = run.to_json()
    *parts, name = path.split(".")
    for part in parts:
        tree = tree[part]
    tree[name] = value
    return tree if path != "" else value


MODULE = "antigravity"  # of the standard library; importing it opens a browser, so it had better not be


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("system.corruptor.type", "electrain.corruptors.nowhere:Nothing"),
        ("system.corruptor.type", "electrain.corruptors.joint:Nothing"),
        ("system.corruptor.type", "electrain.corruptors.joint:Joint"),  # a class, but no dataclass
        ("system.corruptor.type", "electrain.corruptors.joint:Joint.Config.__init__"),
        ("system.corruptor.type", "electrain..corruptors:x"),
        ("system.corruptor.type", f"{MODULE}:fly"),
        ("system.corruptor.type", "this:s"),
        ("system.corruptor.type", "os:system"),
        ("system.corruptor.type", "builtins:eval"),
        ("system.corruptor.type", ""),
        ("system.corruptor.type", 7),
        ("system.corruptor.widht", 0.5),
        ("optim.momentum", 0.9),
        ("colour", "red"),
        ("type", "electrain.optim:Adam"),
    ],
)
def test_what_is_not_ours_is_refused(path: str, value: object) -> None:
    modules = set(sys.modules)
    with pytest.raises(UserError, match=r"^run\.json: "):
        Run.from_json(changed(tiny(), path, value))
    assert not {MODULE, "this"} & (set(sys.modules) - modules)


def test_differences_are_named() -> None:
    run = tiny()
    assert differences(run, run) == []
    assert differences(run, replace(run, seed=3, batch=16)) == ["batch: 8 -> 16", "seed: 0 -> 3"]
    encoder = replace(ELECTRA.encoder, layers=3)
    assert differences(run, replace(run, system=replace(ELECTRA, encoder=encoder))) == ["system.encoder.layers: 2 -> 3"]
    (other,) = differences(run, replace(run, packing=Pairs.Config()))
    assert other.startswith("packing: Full.Config(documents='together') -> Pairs.Config(")
    names = [line.split(":")[0] for line in differences(run, replace(run, system=BERT))]
    assert names == ["system.corruptor", "system.objective", "system.weight"]


def test_free_fields_are_fields_and_make_no_difference() -> None:
    run = tiny()
    assert {item.name for item in fields(Run)} >= FREE
    free: dict[str, Any] = dict(
        recipe="x", log_every=1, eval_every=1, eval_rows=1, save_every=1, save_minutes=1.0, keep=9
    )
    free |= dict(track=("wandb",), parallel=Parallel("fsdp"), trouble=Trouble("skip"), accumulate=2)
    free |= dict(compute=Compute("cuda", "bfloat16", threads=7))
    assert set(free) == FREE and differences(run, replace(run, **free)) == []
    assert identity(run, "data") == identity(replace(run, **free), "data")
    named = [line.split(":")[0] for line in differences(run, replace(run, **free), FREE - {"compute"})]
    assert named == ["compute.device", "compute.dtype", "compute.compile", "compute.threads"]


def test_bad_numbers_are_refused() -> None:
    for name in (
        "steps",
        "batch",
        "length",
        "accumulate",
        "log_every",
        "eval_every",
        "eval_rows",
        "save_every",
        "keep",
    ):
        with pytest.raises(UserError, match=f"run: {name} is 0; choose 1 or more"):
            tiny(**{name: 0})
    with pytest.raises(UserError, match="batch 8 is not a multiple of accumulate 3"):
        tiny(accumulate=3)


def test_a_record_comes_back(tmp_path: Path) -> None:
    record = Record(tiny(), "data", "0" * 64, "electrain pretrain 'tiny'", {"torch": "2.11"}, "a machine")
    record.save(tmp_path)
    assert Record.load(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"7", b"\xff\xfe", b'{"run": 7}', b'{"run": {"type": "electrain.run:Run"}}'],
)
def test_a_damaged_record_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json") as error:
        Record.load(tmp_path)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(UserError, match="there is none; name the folder"):
        Record.load(tmp_path / "nowhere")


def test_a_record_with_values_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    Record(tiny(), "data", "0" * 64, "", {}, "").save(tmp_path)
    tree = json.loads((tmp_path / "run.json").read_text())
    for path, value in (("run", changed(tiny(), "steps", "many")), ("more", 1), ("run", None)):
        (tmp_path / "run.json").write_text(json.dumps({**tree, path: value}))
        with pytest.raises(UserError, match="run"):
            Record.load(tmp_path)
