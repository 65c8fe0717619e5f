"""Documents packed into rows, each seeing itself alone, against a padded row a document: the modern encoder's time.

The same documents (lengths lognormal, cut at the row's end where they are longer), forward and backward, in rows:
packed with documents apart; packed with documents together, which is another model and the most that packing could
gain; a document a row, padded to the row's length; the same sorted by length and padded to the longest of its batch.
Rates count real tokens, never padding.

    python benchmarks/packed.py --size modern-small --length 128 --mean 60 --out benchmarks/results/NAME.json
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ours import vocab_of
from turns import Gate, Turns, table

from electrain.encoders.modern import Modern
from electrain.recipes.sizes import SIZES
from electrain.start import machine, versions

VOCAB = vocab_of(30522)
WAYS = ("packed, apart", "packed, together", "padded to the row", "padded to the longest")
SPREAD = 0.8  # deviation of the logarithm of lengths
MODELS = [name for name, size in SIZES.items() if isinstance(size.encoder, Modern.Config)]

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids, real, segments


def lengths(args: argparse.Namespace) -> list[int]:
    """Tokens of documents that fill `batches` batches of `rows` rows to the last place."""
    random, places = np.random.default_rng(0), args.batches * args.rows * args.length
    drawn = random.lognormal(np.log(args.mean) - SPREAD**2 / 2, SPREAD, places).clip(4, None).astype(int)
    last = int(np.searchsorted(drawn.cumsum(), places))
    return [*drawn[:last].tolist(), places - int(drawn[:last].sum())]


def packed(args: argparse.Namespace) -> Iterator[Rows]:
    """Rows without padding; a document that does not fit goes on in the next row."""
    number = torch.repeat_interleave(torch.tensor(lengths(args))).view(args.batches, args.rows, args.length)
    for segments in 2 * number:
        yield torch.randint(5, VOCAB.size, segments.shape), torch.ones_like(segments, dtype=torch.bool), segments


def padded(args: argparse.Namespace, longest: bool) -> Iterator[Rows]:
    """A row for every part that `packed` keeps apart, about as many places a batch."""
    ends = np.cumsum(lengths(args))
    cuts = np.union1d(ends, np.arange(args.length, ends[-1] + 1, args.length))
    parts = np.diff(cuts, prepend=0)
    if longest:
        parts = np.sort(parts)
    start = 0
    while start < len(parts):
        stop, wide = start, 0 if longest else args.length
        while stop < len(parts) and (stop + 1 - start) * max(wide, parts[stop]) <= args.rows * args.length:
            wide = max(wide, parts[stop])
            stop += 1
        some, start = torch.from_numpy(parts[start:stop]), stop
        real = torch.arange(int(wide)) < some[:, None]
        yield torch.randint(5, VOCAB.size, real.shape) * real, real, torch.zeros_like(real, dtype=torch.int64)


def batches(args: argparse.Namespace, way: str) -> list[Rows]:
    """A contestant's batches: all hold the same documents."""
    return list(packed(args) if way.startswith("packed") else padded(args, way.endswith("longest")))


def work(args: argparse.Namespace) -> None:
    """A contestant: passes over its batches again and again."""
    gate, way = Gate(), args.worker
    torch.manual_seed(0)
    size = SIZES[args.size].encoder
    assert isinstance(size, Modern.Config)
    encoder = Modern(replace(size, documents="apart" if way.endswith("apart") else "together"), VOCAB)
    found = batches(args, way)
    gate.open()
    for ids, real, segments in itertools.cycle(found):
        encoder(ids, real, segments)[real].square().mean().backward()
        encoder.zero_grad()
        gate.step(int(real.sum()))


def main() -> None:
    """Have the ways pass over the same documents in turn, print and write what each makes of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=MODELS, default="modern-small")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--mean", type=float, default=60, help="tokens of a document, on average")
    parser.add_argument("--batches", type=int, default=10, help="of packed rows: what all ways pass over in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    turns = Turns([sys.executable, __file__, *sys.argv[1:], "--worker"], WAYS)
    counts = {way: len(batches(args, way)) for way in WAYS}
    figures = turns.run(args.rounds, counts)
    print(table(figures, "tokens"))
    ratios = {way: figures[WAYS[0]].rate / figures[way].rate for way in WAYS[1:]}
    print(f"{WAYS[0]}: " + ", ".join(f"{ratio:.2f} times {way}" for way, ratio in ratios.items()))
    if args.out:
        summary = {
            "what": "real tokens a second of the modern encoder, forward and backward, interleaved, median of rounds",
            "size": args.size, "length": args.length, "rows": args.rows, "mean": args.mean, "rounds": args.rounds,
            "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(),
            "ways": {way: value._asdict() for way, value in figures.items()}, "packed_apart_to": ratios,
        }  # fmt: skip
        args.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
