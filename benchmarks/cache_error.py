"""How far samples from a cache lie from the generator's full softmax, by K and temperature; and what that replaces.

    python benchmarks/cache_error.py GENERATOR --data DIR --length 64 --out benchmarks/results/NAME.json

On held-out rows. "error": mean total variation and its 95th percentile. "wrong": how often a sample is not the right
token (of the selected places), from the full softmax and from the cache; "tail": how often it is none of the top K.
"plain": the error where the tail is drawn by frequencies that are not tempered; "one mass": where its tempered mass is
estimated from the one at T = 1 alone, as if the tail were shaped like the frequencies.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from electrain.batch import Batch, select
from electrain.cache.format import Binding
from electrain.cache.temper import Entry, dense, entry, total_variation
from electrain.corruptors.masking import mask
from electrain.data.examples import Full
from electrain.data.shards import Shards
from electrain.hub.source import Folders
from electrain.randomness import row_keys
from electrain.start import machine, versions
from electrain.tail import shares

TEMPERATURES = (1.0, 1.25, 1.5, 2.0)


def places(data: Path, generator: str, length: int, rows: int) -> tuple[Tensor, Tensor]:
    """Logits at the selected places of held-out rows (n, v), and the right tokens (n,)."""
    shards = Shards.open(data, "validation")
    packing = Full.Config().build(shards, length)
    network = Folders(data).masked_lm(generator)
    numbers = np.arange(min(rows, packing.rows))
    ids, segments, real = (torch.from_numpy(array) for array in packing.take(numbers))
    maskable = real & ~torch.isin(ids, torch.tensor(shards.vocab.special))
    batch = Batch(ids, segments, real, maskable, row_keys(0, 0, torch.from_numpy(numbers)))
    picked = select(batch, 0.15)
    masked = mask(batch, picked, shards.vocab, masked=0.85, random=0.0)
    with torch.no_grad():
        logits = network.logits(masked, batch, picked)
    return logits[picked.valid].float(), batch.ids.gather(1, picked.index)[picked.valid]


def one_mass(kept: Entry, weight: Tensor, temperature: float) -> Tensor:
    """The distribution where the tail is taken to be shaped like the frequencies at every temperature."""
    ids = kept.ids.long()
    outside = weight.double().expand(len(ids), -1).scatter(1, ids, 0.0)
    outside = kept.tail[:, :1].double().exp() * outside / outside.sum(1, keepdim=True)
    whole = outside.scatter(1, ids, kept.logp.double().exp()) ** (1 / temperature)
    return whole / whole.sum(1, keepdim=True)


def measure(logits: Tensor, right: Tensor, weight: Tensor, top: int) -> dict[str, dict[str, float]]:
    """Figures of one K at every temperature."""
    kept, vocab = entry(logits, top), weight.shape[0]
    found = {}
    for value in TEMPERATURES:
        now = torch.tensor(value)
        full = torch.softmax(logits.double() / value, -1)
        error = total_variation(logits, kept, weight, now)
        ours = dense(kept, weight, now)
        plain = dense(kept, weight.double() ** value, now)
        found[str(value)] = {
            "error": error.mean().item(),
            "error_95": error.quantile(0.95).item(),
            "plain": (full - plain).abs().sum(1).mean().item() / 2,
            "one mass": (full - one_mass(kept, weight, value)).abs().sum(1).mean().item() / 2,
            "tail": 1 - full.gather(1, kept.ids).sum(1).mean().item(),
            "tail_cached": 1 - ours.gather(1, kept.ids).sum(1).mean().item(),
            "wrong": 1 - full.gather(1, right[:, None]).mean().item(),
            "wrong_cached": 1 - ours.gather(1, right[:, None]).mean().item(),
        }
    found["bytes a place"] = {"": Binding("", "", "", "", 0, vocab, 0, 0, 1, 1, 0, top).record.itemsize - 4}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--top", type=int, nargs="*", default=[16, 32, 64, 128])
    parser.add_argument("--what", default="", help="what the generator is, in words")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    logits, right = places(chosen.data, chosen.generator, chosen.length, chosen.rows)
    vocab = Shards.open(chosen.data).vocab
    weight = shares(Folders(chosen.data).frequencies(), vocab.special)
    loss = torch.nn.functional.cross_entropy(logits, right).item()
    print(f"{len(right)} places, vocabulary {vocab.size}, held-out loss of the generator {loss:.3f}\n")
    names = ("K", "T", "error", "95 %", "plain", "one mass", "tail", "cached", "wrong", "cached")
    print("".join(f"{name:>9}" for name in names))
    table = {}
    for top in chosen.top:
        table[str(top)] = measure(logits, right, weight, top)
        for value in TEMPERATURES:
            row = table[str(top)][str(value)].values()
            print(f"{top:>9}{value:>9}" + "".join(f"{figure:>9.4f}" for figure in row))
    result = {
        "what": "mean total variation between samples from a cache of the top K and the full softmax",
        "generator": chosen.what, "places": len(right), "vocabulary": vocab.size, "generator_loss": loss,
        "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(), "top": table,
    }  # fmt: skip
    if chosen.out:
        chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
