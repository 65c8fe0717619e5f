"""A line corrupted as in pre-training: places selected, masked, filled by samples of a masked language model."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from electrain.batch import Batch, Selection, gather, sample, scatter, select
from electrain.corruptors.masking import mask
from electrain.hub.opened import Lm
from electrain.inspect.verdict import room
from electrain.randomness import Stream, row_keys, uniform
from electrain.vocab import Vocab
from electrain.zeroshot.forward import filled


@dataclass(frozen=True)
class How:
    """What is varied.

    rate         share of the tokens that is selected
    temperature  of the softmax that is sampled from; 0 takes the likeliest token
    seed         of places and samples: the same places and the same draws at every temperature
    masked       share of the selected places that the generator reads as [MASK]; the rest stay
    """

    rate: float = 0.15
    temperature: float = 1.0
    seed: int = 0
    masked: float = 0.85


class Damaged(NamedTuple):
    """A corrupted line, all (n,).

    masked    ids that the generator read
    sampled   ids that the discriminator reads
    picked    True at the selected places
    chance    at the selected places, the probability that the sample had; 0 elsewhere
    original  at the selected places, the probability that the text's own token had; 0 elsewhere
    """

    masked: Int[np.ndarray, " n"]
    sampled: Int[np.ndarray, " n"]
    picked: Bool[np.ndarray, " n"]
    chance: Float[np.ndarray, " n"]
    original: Float[np.ndarray, " n"]


@torch.inference_mode()
def damaged(lm: Lm, vocab: Vocab, ids: Int[np.ndarray, " n"], how: How) -> Damaged:
    """Corrupt a line, in pieces of the generator's length where it is longer."""
    count, size = len(ids), room(lm.encoder)
    if not count:
        empty = np.zeros(0)
        return Damaged(ids, ids, empty.astype(bool), empty, empty)
    start = np.arange(0, count, size)
    stop = np.minimum(start + size, count)
    device = next(lm.encoder.parameters()).device
    rows = torch.from_numpy(filled(ids, start, stop, vocab)).long()
    real = torch.arange(rows.shape[1]) < torch.from_numpy(stop - start + 2)[:, None]
    inside = real & (torch.arange(rows.shape[1]) > 0) & (torch.arange(rows.shape[1]) < real.sum(1, keepdim=True) - 1)
    maskable = inside & ~torch.isin(rows, torch.tensor(vocab.special))
    key = row_keys(how.seed, 0, torch.arange(len(rows)))
    batch = Batch(rows, torch.zeros_like(rows), real, maskable, key).map(lambda tensor: tensor.to(device))
    picked = select(batch, how.rate)
    masked = mask(batch, picked, vocab, masked=how.masked, random=0.0)
    hidden = lm.encoder(masked, batch.real, batch.segments)
    logits = lm.head(gather(hidden, picked.index), lm.encoder.tokens.weight).float()
    if how.temperature > 0:
        logits = logits / how.temperature
        new = sample(logits, uniform(batch.key, Stream.SAMPLE, picked.index))
    else:
        new = logits.argmax(-1)
    chances = logits.softmax(-1)
    own = batch.ids.gather(1, picked.index)
    taken = (scatter(batch.ids, picked, new), masked)
    shares = (_spread(chances, token, picked, rows.shape) for token in (new, own))
    marks = _spread(torch.ones_like(chances), own, picked, rows.shape) > 0
    flat = [tensor.cpu()[inside].numpy() for tensor in (*taken, marks, *shares)]
    return Damaged(flat[1].astype(np.int32), flat[0].astype(np.int32), *flat[2:])


def _spread(values: torch.Tensor, token: torch.Tensor, picked: Selection, shape: torch.Size) -> torch.Tensor:
    """The tokens' entries of `values` (b, k, v) at the valid selected places of rows (b, t), 0 elsewhere."""
    found = torch.where(picked.valid, values.gather(2, token[..., None]).squeeze(2), 0.0)
    return torch.zeros(shape, device=values.device).scatter_add(1, picked.index, found)
