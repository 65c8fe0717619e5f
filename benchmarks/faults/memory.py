"""Memory that stays: over many steps, and whatever the size of the corpus."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np

from electrain.data import blocks
from electrain.data.manifest import Manifest, Shard
from electrain.vocab import Vocab

from .process import Command
from .world import Outcome, World

_VOCAB = Vocab(size=200, pad=195, unk=196, cls=197, sep=198, mask=199, special=(195, 197, 198, 199))
_ALLOWED = 0.01


def steps(world: World, tries: int) -> Outcome:
    """Resident memory of one run over so many steps, from when a tenth is made to its end."""
    out = world.fresh("memory-steps")
    often = ["--save-every", max(100, tries // 20), "--eval-every", max(100, tries // 20), "--log-every", 10]
    words = world.pretrain(out, tries, *often)
    running = world.start([words[0], "bert_tiny", *words[2:]])  # one network, for shorter steps
    seen: list[tuple[int, int]] = []
    while running.running():
        seen.append((_step(out), _status(running, "VmRSS")))
        time.sleep(0.2)
    code = running.wait()
    after = [size for step, size in seen if step >= tries // 10 and size]
    if code or len(after) < 20:
        return Outcome(0, [f"exit code {code}, {len(after)} looks: {running.said[-300:]}"])
    # The highest of the first and of the last tenth of the looks: an evaluation or a save may fall anywhere.
    share = len(after) // 10
    first, end = max(after[:share]), max(after[-share:])
    growth = end / first - 1
    lost = [f"grew by {growth:.2%}"] if growth >= _ALLOWED else []
    return Outcome(tries, lost, {"MiB first": first >> 10, "MiB last": end >> 10, "growth": f"{growth:+.2%}"})


def sparse(world: World, tries: int) -> Outcome:
    """A corpus of 50 GB, almost none of it on the disk, trains within the memory of one of 50 MB."""
    peaks = {}
    for name, size in (("50 MB", 50_000_000), ("50 GB", 50_000_000_000)):
        folder = _corpus(world.fresh(f"sparse-{name[-2:]}"), size)
        out = world.fresh("memory-sparse")
        running = world.start(world.pretrain(out, 300, data=folder))
        anonymous = largest = 0
        while running.running():
            anonymous = max(anonymous, _status(running, "RssAnon"))
            largest = max(largest, _status(running, "VmRSS"))
            time.sleep(0.01)
        if running.wait():
            return Outcome(0, [f"{name}: {running.said[-300:]}"])
        peaks[name] = (anonymous, largest)
    own, all_ = ((large - small) / 1024 for small, large in zip(*peaks.values(), strict=True))
    # Pages of the file, one or two a row, and its checksums stay in memory as long as nobody else wants the room.
    allowed = 8 + 300 * 8 * 3 * blocks.SIZE / 2**20 + 50e9 * 4 / blocks.SIZE / 2**20
    lost = [f"{own:.1f} MiB more of its own, {all_:.1f} MiB in all"] if own > 8 or all_ > allowed else []
    told = {f"MiB, {name}": f"{a >> 10} own, {b >> 10} in all" for name, (a, b) in peaks.items()}
    return Outcome(2, lost, told)


def _corpus(folder: Path, size: int) -> Path:
    """Documents of a thousand tokens 0, an ordinary one here; a file of holes with its index and checksums."""
    made = []
    for split, count in (("train", size // 2), ("validation", 50_000)):
        path = folder / split / "00000.ds"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            file.truncate(2 * count)
        documents = count // 1_000_000 or 1
        ends = (count // documents) * np.arange(1, documents + 1, dtype="<u8")
        path.with_name("00000.ds.index").write_bytes(ends.tobytes())
        full, rest = divmod(2 * count, blocks.SIZE)
        small = folder / "block"
        small.write_bytes(bytes(blocks.SIZE + rest))
        page, tail = blocks.summed(small)[1].tolist() if rest else (*blocks.summed(small)[1].tolist(), 0)
        # Nobody hashes 50 GB of nothing here: any digest will do that manifest and checksums agree on.
        digest = hashlib.sha256(f"{split} {size}".encode()).hexdigest()
        blocks.save(path, digest, np.array([page] * full + [tail] * bool(rest), "<u4"))
        made.append(Shard(f"{split}/00000.ds", count, documents, digest, hashlib.sha256(ends.tobytes()).hexdigest()))
    np.save(folder / "frequencies.npy", np.r_[size // 2, np.zeros(_VOCAB.size - 1, np.int64)])
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    tokenizer = hashlib.sha256(b"{}").hexdigest()
    Manifest("uint16", _VOCAB, tokenizer, (made[0],), (made[1],), (), 0.01, "by hand", "").save(folder)
    return folder


def _status(running: Command, name: str) -> int:
    """KiB of a process, by name in /proc; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _step(out: Path) -> int:
    try:
        with (out / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2000))
            return json.loads(file.read().splitlines()[-1])["step"]
    except (OSError, ValueError, IndexError):
        return 0
