"""`electrain cache`: runs a frozen generator once over the data and keeps what it proposes, for every later run."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from electrain.batch import Batch, Selection, sample, select, slots
from electrain.cache.format import Binding, Manifest, Part, Split
from electrain.cache.payback import Payback, in_turn
from electrain.cache.read import Records
from electrain.cache.temper import Entry, draw, entry
from electrain.cache.write import Writer, check, finished, free, verify, writing
from electrain.compute import Compute, casting, compiled
from electrain.corruptors.mask import check_shares
from electrain.corruptors.masking import mask
from electrain.data.examples import Full, Packing
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.hub.source import Folders
from electrain.progress import Done, shown
from electrain.randomness import Stream, row_keys, uniform
from electrain.source import MaskedLm
from electrain.tail import shares
from electrain.tracking import say
from electrain.vocab import Vocab

_FILE = 1 << 26  # bytes of a file, about


@dataclass(frozen=True)
class Proposing:
    """Run a frozen generator once over the data and keep what it proposes. Cut short, the same command goes on."""

    generator: str
    """The generator: a run of ours, a folder that transformers loads, or a Hub name; its flag may be left out."""
    data: Path
    """Folder that `electrain prepare` made."""
    out: Path
    """Folder of the cache."""
    selections: int = 4
    """Selections of each row, each with its own places; epoch e reads selection e modulo this."""
    top_k: int = 64
    """Likeliest tokens kept of each selected place."""
    length: int = 128
    """Tokens of a row: those of the runs that will read the cache."""
    rate: float = 0.15
    """Share of the non-special tokens that is selected."""
    masked: float = 0.85
    """Share of the selected places that the generator reads as [MASK]; the rest stay."""
    seed: int = 0
    """Of the places; with the row's and the selection's number it decides them."""
    rows: int = 0
    """Only so many rows of each split, to try it out; 0 for all, which training needs."""
    batch: int = 64
    """Rows that the generator reads at once."""
    compute: Compute = field(default_factory=Compute)
    """Device, number format, compilation."""

    def __post_init__(self) -> None:
        check_shares(self.rate, self.masked, 0.0)
        for name in ("selections", "top_k", "length", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"cache: {name} is {getattr(self, name)}; choose 1 or more")
        if self.rows < 0:
            raise UserError(f"cache: rows is {self.rows}; choose 0 for all, or more")


def propose(how: Proposing) -> Manifest:
    """Make a cache, or go on with it, and print what it is worth; one that is finished is checked, byte by byte.

    UserError for input that cannot be used, another cache in `out`, or a disk without the room.
    """
    out = how.out
    check(out)  # before the generator is loaded, which takes its time
    device = how.compute.start()
    packings = _packings(how)
    train = packings["train"].shards
    if how.top_k > train.vocab.size // 2:
        raise UserError(f"--top-k {how.top_k}: the vocabulary has {train.vocab.size} tokens; keep half of it at most")
    generator = Folders(how.data).masked_lm(how.generator)
    try:
        generator.config.check(how.length)
    except UserError as error:
        raise UserError(f"--length {how.length}: the generator does not read such long rows; choose less") from error
    binding = Binding(
        data=train.manifest.checksum,
        tokenizer=train.manifest.tokenizer_sha256,
        generator=fingerprint(generator),
        packing=repr(packings["train"].config),
        length=how.length,
        vocab=train.vocab.size,
        rate=how.rate,
        masked=how.masked,
        slots=slots(how.rate, how.length),
        selections=how.selections,
        seed=how.seed,
        top=how.top_k,
        rows=how.rows,
    )
    each = max(1, _FILE // (how.selections * binding.record.itemsize * how.batch)) * how.batch
    rows: dict[Split, int] = {split: min(packing.rows, how.rows or packing.rows) for split, packing in packings.items()}
    if finished(out, binding, each):
        manifest = Manifest.load(out)
        verify(out, manifest)
        say(f"{out}: is finished, and whole; nothing to do")
        return manifest
    say(_room(out, binding, rows))
    with writing(out, binding, each) as writer:
        call = Proposer(generator.to(device), train.vocab, how, how.compute.precision(device), device)
        parts, seconds = _fill(writer, packings, rows, call)
        manifest = writer.finish(how.generator, parts)
    if seconds is not None:
        print(_payback(packings["train"], rows, manifest, call, seconds).describe())
    return manifest


def _packings(how: Proposing) -> dict[Split, Packing]:
    """Both splits; only the training data where nothing was held out."""
    shards = Shards.open(how.data)
    opened: dict[Split, Shards] = {"train": shards}
    if shards.manifest.validation:
        opened["validation"] = Shards.open(how.data, "validation")
    return {split: Full.Config().build(found, how.length) for split, found in opened.items()}


def fingerprint(generator: MaskedLm) -> str:
    """SHA-256 of a network's weights, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(generator.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _room(out: Path, binding: Binding, rows: dict[Split, int]) -> str:
    """What it will take, for a person. UserError if the disk has less."""
    size = binding.record.itemsize * binding.selections * sum(rows.values())
    there = sum(path.stat().st_size for path in out.glob("*/*.rec"))
    left = free(out)
    line = (
        f"{sum(rows.values()):,} rows x {binding.selections} selections x {binding.slots} places x {binding.top} "
        f"proposals: {size / 1e9:.3f} GB in {out}"
    )
    if size - there > left:
        raise UserError(f"--out {out}: {line}, and the disk has {left / 1e9:.3f} GB free; keep fewer")
    return f"{line}; {left / 1e9:.3f} GB are free" + (f", {there / 1e9:.3f} GB are there" if there else "")


class Proposer:
    """The frozen generator over rows of the data, compiled where that works. A batch always has the same shape."""

    def __init__(self, generator: MaskedLm, vocab: Vocab, how: Proposing, dtype: torch.dtype, device: torch.device):
        self.generator, self.vocab, self.how, self.dtype, self.device = generator, vocab, how, dtype, device
        self.plain = torch.ones(vocab.size, dtype=torch.bool)
        self.plain[list(vocab.special)] = False
        self.even = shares(torch.zeros(vocab.size, dtype=torch.int64), vocab.special).to(device)
        ids = torch.zeros(how.batch, how.length, dtype=torch.int64, device=device)
        real = torch.ones_like(ids, dtype=torch.bool)
        empty = Batch(ids, ids.clone(), real, real.clone(), ids[:, 0].clone())
        self.call: Callable[[Batch], tuple[Tensor, ...]] = self.ready(self._propose, empty, "the generator")

    def __call__(self, packing: Packing, numbers: np.ndarray, selection: int, into: np.ndarray) -> None:
        """Fill the records of a selection of some rows, at most `how.batch` of them."""
        full = np.resize(numbers, self.how.batch)
        batch = self.batch(packing, full, selection)
        found = zip(("place", "ids", "logp", "tail"), self.run(self.call, batch), strict=True)
        for name, value in found:
            into[name] = value[: numbers.size].cpu().numpy()

    def batch(self, packing: Packing, numbers: np.ndarray, selection: int) -> Batch:
        """Rows by their numbers, with the randomness of a selection."""
        ids, segments, real = (torch.from_numpy(array) for array in packing.take(numbers))
        keys = row_keys(self.how.seed, selection, torch.from_numpy(numbers))
        return Batch(ids, segments, real, self.plain[ids] & real, keys).map(lambda tensor: tensor.to(self.device))

    def run(self, call: Callable[[Batch], tuple[Tensor, ...]], batch: Batch) -> tuple[Tensor, ...]:
        """One call, without gradients, in the number format chosen."""
        with torch.no_grad(), casting(self.device, self.dtype):
            return call(batch)

    def ready(
        self, call: Callable[[Batch], tuple[Tensor, ...]], example: Batch, what: str
    ) -> Callable[[Batch], tuple[Tensor, ...]]:
        """A call compiled for batches of this shape, or as it is where that is not wanted or does not work."""
        if not self.how.compute.compile:
            return call
        done = compiled(call, lambda ready: self.run(ready, example), say, what=what, dynamic=False)
        return call if done is None else done

    def live(self, batch: Batch) -> tuple[Tensor, ...]:
        """What a run without a cache does in place of reading one (see `corruptors/frozen.py`)."""
        picked, logits = self._guessed(batch)
        return (sample(logits.float(), uniform(batch.key, Stream.SAMPLE, picked.index)),)

    def drawn(self, batch: Batch) -> tuple[Tensor, ...]:
        """What a run with a cache does with what it has read (see `corruptors/cached.py`)."""
        place, *kept = batch.extra
        one = torch.ones((), device=place.device)
        return (draw(Entry(*kept), self.even, one, uniform(batch.key, Stream.SAMPLE, place)),)

    def _guessed(self, batch: Batch) -> tuple[Selection, Tensor]:
        picked = select(batch, self.how.rate)
        masked = mask(batch, picked, self.vocab, masked=self.how.masked, random=0.0)
        return picked, self.generator.logits(masked, batch, picked)

    def _propose(self, batch: Batch) -> tuple[Tensor, ...]:
        picked, logits = self._guessed(batch)
        kept = entry(logits, self.how.top_k)
        return torch.where(picked.valid, picked.index, 0), kept.ids, kept.logp, kept.tail


def _fill(
    writer: Writer, packings: dict[Split, Packing], rows: dict[Split, int], call: Proposer
) -> tuple[dict[Split, Part], float | None]:
    """Every file that is not there yet, in order; and the seconds that a row took, None if none was made here."""
    total, done, made, began = sum(rows.values()), 0, 0, time.monotonic()

    def look() -> Done:
        rate = made / max(time.monotonic() - began, 1e-9)
        return Done(done / total, f"{rate:,.0f} rows/s", (done - made) / total)

    parts: dict[Split, Part] = {}
    with shown("cache", look):
        for split, packing in packings.items():
            sums = []
            for number, first in enumerate(range(0, rows[split], writer.each)):
                count = min(writer.each, rows[split] - first)
                digest = writer.there(split, number, count)
                if digest is not None:
                    done += count
                    sums.append(digest)
                    continue
                records = np.zeros((count, writer.binding.selections), writer.binding.record)
                for start in range(0, count, call.how.batch):
                    numbers = np.arange(first + start, first + min(start + call.how.batch, count))
                    for selection in range(writer.binding.selections):
                        call(packing, numbers, selection, records[start : start + numbers.size, selection])
                    done, made = done + numbers.size, made + numbers.size
                sums.append(writer.put(split, number, records))
            parts[split] = Part(rows[split], writer.each, tuple(sums))
    return parts, (time.monotonic() - began) / made if made else None


def _payback(packing: Packing, rows: dict[Split, int], manifest: Manifest, call: Proposer, seconds: float) -> Payback:
    """Times the generator against the cache on the same rows, drawn from all over the training data, for seconds."""
    how, bound = call.how, manifest.binding
    reader = Records(how.out, bound, manifest.train, "train")

    def batches() -> Iterator[tuple[Batch, np.ndarray, np.ndarray]]:
        random = np.random.default_rng(how.seed)
        for number in count():
            numbers = random.integers(0, rows["train"], how.batch)
            yield call.batch(packing, numbers, number), numbers, np.full_like(numbers, number)

    def beside(batch: Batch, numbers: np.ndarray, epochs: np.ndarray) -> Batch:
        arrays = reader.take(numbers, epochs)
        return batch._replace(extra=tuple(torch.from_numpy(array).to(call.device) for array in arrays))

    say("measuring what it saves")
    first = next(batches())
    live = call.ready(call.live, first[0], "what a run without it would do")
    drawn = call.ready(call.drawn, beside(*first), "what a run with it does")
    times = in_turn(
        (
            lambda given: call.run(live, given[0])[0].cpu(),
            lambda given: call.run(drawn, beside(*given))[0].cpu(),
        ),
        batches(),
    )
    size = bound.record.itemsize * bound.selections * sum(rows.values())
    return Payback(sum(rows.values()), rows["train"], bound.selections, how.length, size, seconds, *times, how.batch)
