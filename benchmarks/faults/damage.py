"""Files that are cut, flipped in one bit, missing, or another's: named, and never trained on.

A command on a damaged folder must either end as if nothing were damaged (what was hit is not read, or there is an
older checkpoint: which is then named), or leave with exit code 2 and one line. All else is a loss.
"""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from electrain.data import blocks

from .world import Outcome, World, differing, last, one_line

KINDS = ("truncated", "flipped", "missing", "another's")
_STEPS = 20


def checkpoint(world: World, tries: int) -> Outcome:
    """Every file of the newest checkpoint; then one file of every checkpoint."""
    whole, other, cut = _runs(world)
    lost: list[str] = []
    noticed: dict[str, int] = {}
    names = sorted(path.name for path in last(cut).iterdir())
    for name in names:
        for kind in KINDS * tries:
            out = world.fresh("damaged")
            shutil.copytree(cut, out)
            hurt(world, last(out) / name, kind, last(_cut(other)) / name)
            step = last(out)
            how = _went_on(world, world.pretrain(out, _STEPS), whole, out, noticed)
            said = (world.folder / "logs" / f"{world.number:05d}.txt").read_text()
            if how or f"{step}: damaged" not in said:
                lost.append(f"{name} {kind}: {how or 'was not named'}")
    out = world.fresh("damaged")
    shutil.copytree(cut, out)
    for path in (out / "checkpoints").glob("step-*/model.safetensors"):
        os.truncate(path, 100)
    if how := _went_on(world, world.pretrain(out, _STEPS), whole, out, noticed):
        lost.append(f"all checkpoints cut: {how}")
    return Outcome(len(names) * len(KINDS) * tries + 1, lost, noticed)


def exchanged(world: World, tries: int) -> Outcome:
    """The newest checkpoint, whole, is another run's of the same shapes, or an older one under a newer name."""
    whole, other, cut = _runs(world)
    lost: list[str] = []
    noticed: dict[str, int] = {}
    for what in ("another run's", "an older one"):
        out = world.fresh("damaged")
        shutil.copytree(cut, out)
        step = last(out)
        shutil.rmtree(step)
        shutil.copytree(last(_cut(other)) if what == "another run's" else last(out), step)
        if how := _went_on(world, world.pretrain(out, _STEPS), whole, out, noticed):
            lost.append(f"{what}: {how}")
    return Outcome(2, lost, noticed)


def run_folder(world: World, tries: int) -> Outcome:
    """Every other file of a run: what was settled, what was logged, the tokenizer, which checkpoint is the best."""
    whole, other, cut = _runs(world)
    lost: list[str] = []
    noticed: dict[str, int] = {}
    names = [
        str(path.relative_to(cut)) for path in sorted(cut.rglob("*")) if path.is_file() and "step-" not in str(path)
    ]
    for name in names:
        for kind in KINDS * tries:
            out = world.fresh("damaged")
            shutil.copytree(cut, out)
            hurt(world, out / name, kind, _cut(other) / name)
            how = _went_on(world, world.pretrain(out, _STEPS), whole, out, noticed)
            if name == "metrics.jsonl" and how.startswith("other metrics"):
                how = ""  # lines that are gone cannot come again, and nothing is trained on them
                _count(noticed, "lines of the log gone")
            if how:
                lost.append(f"{name} {kind}: {how}")
    return Outcome(len(names) * len(KINDS) * tries, lost, noticed)


def data(world: World, tries: int) -> Outcome:
    """Every file of a data folder, of its shards one of each split, several bits of each.

    Another's shard has the same size and its own checksums beside it.
    """
    whole = _runs(world)[0]
    lost: list[str] = []
    noticed: dict[str, int] = {}
    files = (
        path for path in world.data.rglob("*") if path.is_file() and path.name[:5] not in ("00001", "00002", "00003")
    )
    names, count = sorted(str(path.relative_to(world.data)) for path in files), 0
    for name in names:
        for kind in ("flipped",) * (3 * tries) + KINDS:
            damaged, out = world.fresh("damaged-data"), world.fresh("damaged")
            shutil.copytree(world.data, damaged)
            hurt(world, damaged / name, kind, _other(damaged, name, world))
            count += 1
            if how := _went_on(world, world.pretrain(out, _STEPS, data=damaged), whole, out, noticed):
                lost.append(f"{name} {kind}: {how}")
    return Outcome(count, lost, noticed)


def cache(world: World, tries: int) -> Outcome:
    """Every file of a generator's cached proposals, several bits of each."""
    made = world.folder / "proposals"
    if not (made / "cache.json").exists():
        world.made(world.cache(made))
        other = world.folder / "proposals-other"
        world.made([*world.cache(other), "--seed", "1"])
    other = world.folder / "proposals-other"

    def words(out: Path, folder: Path) -> list[str]:
        found = world.pretrain(out, _STEPS, "--system.corruptor.cache", folder)
        return ["pretrain", "fast_electra_cached", *found[2:], "--size", "tiny"]

    whole, damaged = world.fresh("cached-whole"), world.fresh("damaged-cache")
    shutil.copytree(made, damaged)  # by the same path: a run is not the same with another
    world.made(words(whole, damaged))
    lost: list[str] = []
    noticed: dict[str, int] = {}
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    count = 0
    for name in names:
        for kind in ("flipped",) * (5 * tries) + KINDS:
            damaged, out = world.fresh("damaged-cache"), world.fresh("damaged")
            shutil.copytree(made, damaged)
            hurt(world, damaged / name, kind, other / name)
            count += 1
            if how := _went_on(world, words(out, damaged), whole, out, noticed):
                lost.append(f"{name} {kind}: {how}")
    return Outcome(count, lost, noticed)


def hurt(world: World, path: Path, kind: str, other: Path) -> None:
    """Damage a file."""
    content = bytearray(path.read_bytes())
    match kind:
        case "truncated":
            path.write_bytes(content[: world.random.randrange(len(content))] if content else b"")
        case "flipped":
            content[world.random.randrange(len(content))] ^= 1 << world.random.randrange(8)
            path.write_bytes(content)
        case "missing":
            path.unlink()
        case _:
            shutil.copy(other, path)


def _runs(world: World) -> tuple[Path, Path, Path]:
    """A run, one of another seed, and the first as it was when its last checkpoint was still to be made."""
    whole, other = world.folder / "damage-whole", world.folder / "damage-other"
    for out, options in ((whole, ()), (other, ("--seed", 1))):
        if not out.exists():
            world.made(world.pretrain(out, _STEPS, *options))
    return whole, other, _cut(whole)


def _cut(whole: Path) -> Path:
    out = whole.with_name(f"{whole.name}-cut")
    if not out.exists():
        shutil.copytree(whole, out)
        shutil.rmtree(last(out))
    return out


def _other(folder: Path, name: str, world: World) -> Path:
    """A file of another data folder. A token file has the same size, and its own checksums are put beside it."""
    if not name.endswith(".ds"):
        return world.other_data / name
    other = world.folder / "other-file"
    tokens = np.frombuffer((folder / name).read_bytes(), "<u2")[::-1]
    other.write_bytes(tokens.tobytes())
    blocks.save(folder / name, hashlib.sha256(tokens.tobytes()).hexdigest(), blocks.summed(other)[1])
    return other


def _went_on(world: World, words: list[str], whole: Path, out: Path, noticed: dict[str, int]) -> str:
    """What is wrong with how a command ends on damaged files; counts how it was noticed."""
    code, said = world.call(words)
    if code == 2 and one_line(said):
        _count(noticed, "refused in one line")
        return ""
    if code:
        return f"exit code {code}: {said[-400:]}"
    how = differing(whole, out)
    if not how:
        _count(noticed, "older checkpoint used" if ": damaged (" in said else "same result")
    return how


def _count(noticed: dict[str, int], what: str) -> None:
    noticed[what] = noticed.get(what, 0) + 1
