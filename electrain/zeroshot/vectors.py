"""Sentence vectors without training: the mean of an encoder's last vectors, and the one at [CLS]."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from electrain.encoders.base import Encoder, mean
from electrain.vocab import Vocab
from electrain.zeroshot.forward import Place, batches, filled, hidden_of
from electrain.zeroshot.texts import Texts


class Vectors(NamedTuple):
    """Of m texts.

    mean  over all real places, [CLS] and [SEP] among them (sentence-transformers' mean pooling)
    cls   at [CLS]
    """

    mean: Float[np.ndarray, "m d"]
    cls: Float[np.ndarray, "m d"]


@torch.inference_mode()
def vectors(encoder: Encoder, texts: Texts, vocab: Vocab, room: int, where: Place) -> Vectors:
    """Vectors of every text, of which `room` tokens are read; shortest first through the encoder. float32."""
    start = texts.ends[:-1]
    size = np.minimum(np.diff(texts.ends), room)
    order = np.argsort(size, kind="stable")
    out = Vectors(*(np.zeros((len(size), encoder.width), np.float32) for _ in Vectors._fields))
    for part in batches(size[order] + 2, where.tokens):
        some = order[part]
        ids = filled(texts.ids, start[some], start[some] + size[some], vocab)
        with where.casting:
            hidden = hidden_of(encoder, ids, size[some] + 2, where)
        real = torch.from_numpy(np.arange(ids.shape[1]) < (size[some] + 2)[:, None]).to(hidden.device)
        out.mean[some], out.cls[some] = mean(hidden, real).cpu().numpy(), hidden[:, 0].float().cpu().numpy()
        where.tick(len(some))
    return out


def cosines(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Cosine of every pair of rows, float64; 0 where one is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.maximum(norms, 1e-12)
