"""Rows through a network, shortest first: a verdict on every token, or a guess of every token from the others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from electrain.compute import casting
from electrain.encoders.base import Encoder
from electrain.encoders.head import RtdHead
from electrain.hub.opened import Lm
from electrain.vocab import Vocab
from electrain.zeroshot.texts import Rows, Texts

CHUNK = 1 << 20  # ids that are compared at a time for masked rows that are the same


class Place(NamedTuple):
    """Where, and in what format of matrix products, the network runs; and who is told of every row that is done."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    tick: Callable[[int], None] = lambda _: None

    @property
    def casting(self) -> AbstractContextManager:
        """Matrix products in the format, inside."""
        return casting(self.device, self.dtype)

    @property
    def tokens(self) -> int:
        """Tokens of a batch: on a CPU what stays in its caches is the fastest."""
        return 2048 if self.device.type == "cpu" else 1 << 16


@torch.inference_mode()
def verdicts(
    encoder: Encoder, head: RtdHead, texts: Texts, rows: Rows, vocab: Vocab, where: Place
) -> Float[np.ndarray, " n"]:
    """The head's output for every token."""
    out = np.zeros(len(texts.ids), np.float32)
    for part in batches(rows.stop - rows.start + 2, where.tokens):
        start, stop, first, last = (field[part] for field in rows)
        ids = filled(texts.ids, start, stop, vocab)
        with where.casting:
            said = head(hidden_of(encoder, ids, stop - start + 2, where)).float().cpu().numpy()
        place = (start - 1)[:, None] + np.arange(ids.shape[1])
        judged = (place >= first[:, None]) & (place < last[:, None])
        out[place[judged]] = said[judged]
        where.tick(len(ids))
    return out


@torch.inference_mode()
def guesses(lm: Lm, texts: Texts, rows: Rows, vocab: Vocab, where: Place) -> Float[np.ndarray, " n"]:
    """Log P of every token given the others, with the later tokens of its word masked beside it.

    Pseudo-log-likelihood (Salazar et al., 2020), within-word left-to-right (Kauf & Ivanova, 2023): a token that its own
    word's end gives away would be too easy. Every token is a row of its own, of which one place goes through the head;
    the same row at the same place (sentences that differ in nothing but the masked tokens) is computed once.
    """
    out = np.zeros(len(texts.ids), np.float32)
    count = rows.last - rows.first
    of = np.repeat(np.arange(len(count)), count)
    place = np.arange(count.sum()) + np.repeat(rows.first - (count.cumsum() - count), count)
    end = np.minimum(word_ends(texts)[place], rows.stop[of])
    size = (rows.stop - rows.start)[of] + 2
    for part in batches(size, CHUNK):
        start = rows.start[of[part]]
        ids = filled(texts.ids, start, rows.stop[of[part]], vocab)
        at, until = (place[part] - start + 1)[:, None], (end[part] - start + 1)[:, None]
        column = np.arange(ids.shape[1])
        ids[(column >= at) & (column < until)] = vocab.mask
        first, which = _same(np.concatenate([at.astype(ids.dtype), ids], axis=1))
        target = texts.ids[place[part]]
        out[place[part]] = _guessed(lm, ids[first], at[first, 0], size[part][first], which, target, where)
    return out


def _guessed(
    lm: Lm,
    ids: Int[np.ndarray, "u t"],
    at: Int[np.ndarray, " u"],
    size: Int[np.ndarray, " u"],
    which: Int[np.ndarray, " i"],
    target: Int[np.ndarray, " i"],
    where: Place,
) -> Float[np.ndarray, " i"]:
    """Log P of `target` at place `at` of the masked row `which`; rows by their size, shortest first."""
    out = np.empty(len(which), np.float32)
    asked = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[asked], np.arange(len(ids) + 1))
    # Logits over the vocabulary: as many rows as bring them to some 100 MB on a CPU.
    for part in batches(size, where.tokens, most=where.tokens // 4):
        there = torch.from_numpy(at[part]).to(where.device)
        with where.casting:
            hidden = hidden_of(lm.encoder, ids[part, : size[part][-1]], size[part], where)
            logits = lm.head(hidden[torch.arange(len(there), device=where.device), there], lm.encoder.tokens.weight)
        logits = logits.float()
        items = asked[bounds[part.start] : bounds[part.stop]]
        row, word = (torch.from_numpy(x).to(where.device) for x in (which[items] - part.start, target[items]))
        out[items] = (logits[row, word.long()] - logits.logsumexp(-1)[row]).cpu().numpy()
        where.tick(len(items))
    return out


def batches(size: Int[np.ndarray, " r"], tokens: int, most: int = 1 << 30) -> Iterator[slice]:
    """Slices of rows that are sorted by size: at most `tokens` places with padding, and `most` rows; one at least."""
    first = 0
    while first < len(size):
        fits = size[first : first + most] * np.arange(1, len(size[first : first + most]) + 1) <= tokens
        last = first + max(1, int(fits.sum()))
        yield slice(first, last)
        first = last


def filled(
    flat: Int[np.ndarray, " n"], start: Int[np.ndarray, " b"], stop: Int[np.ndarray, " b"], vocab: Vocab
) -> Int[np.ndarray, "b t"]:
    """[CLS] tokens [SEP], padded to the longest."""
    size = stop - start
    column = np.arange(size.max(initial=0) + 2)
    inside = (column >= 1) & (column <= size[:, None])
    ids = np.full(inside.shape, vocab.pad, np.int32)
    ids[inside] = flat[((start - 1)[:, None] + column)[inside]]
    ids[:, 0] = vocab.cls
    ids[np.arange(len(ids)), size + 1] = vocab.sep
    return ids


def word_ends(texts: Texts) -> Int[np.ndarray, " n"]:
    """Of every token, the place after the last token of its word."""
    n = len(texts.ids)
    begins = np.ones(n, bool)
    begins[1:] = texts.words[1:] != texts.words[:-1]
    begins[texts.ends[:-1][texts.ends[:-1] < n]] = True
    return np.append(np.flatnonzero(begins)[1:], n)[begins.cumsum() - 1]


def _same(table: Int[np.ndarray, "i c"]) -> tuple[Int[np.ndarray, " u"], Int[np.ndarray, " i"]]:
    """First occurrences of the distinct rows, in their order; and of every row, its number among them."""
    _, first, which = np.unique(table, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[which.reshape(-1)]


def hidden_of(
    encoder: Encoder, ids: Int[np.ndarray, "b t"], size: Int[np.ndarray, " b"], where: Place
) -> Float[Tensor, "b t d"]:
    """Vectors of every place of rows of these sizes, padding left out of attention."""
    # By the sizes: a tokenizer may pad with the token that ends its texts.
    real = torch.from_numpy(np.arange(ids.shape[1]) < size[:, None])
    return encoder(torch.from_numpy(ids).to(where.device).long(), real.to(where.device))
