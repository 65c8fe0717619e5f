"""Two views of one text, and what brings them together: the cropped view and the contrastive loss of COCO-LM."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from electrain.batch import Batch
from electrain.errors import UserError
from electrain.metrics import Metrics, average, mean
from electrain.randomness import Stream, uniform
from electrain.vocab import Vocab


class View(NamedTuple):
    """A text as the encoder reads it: token ids, segments, False at padding."""

    ids: Int[Tensor, "b w"]
    segments: Int[Tensor, "b w"]
    real: Bool[Tensor, "b w"]


def crop_length(length: int, keep: float) -> int:
    """Tokens of the cropped view of rows of `length`: [CLS] and [SEP] stay, of what is between them `keep`."""
    return 2 + _kept(length - 2, keep)


def crop(batch: Batch, keep: float, vocab: Vocab) -> View:
    """[CLS], a contiguous share `keep` of the row's inner tokens that begins anywhere, its last [SEP], padding.

    COCO-LM, section 3.3: 90 % of the original text. There the cut may take [SEP] away; that both ends stay is ours. The
    view is as short as the longest crop can be, so that its shape is static and the second pass costs less.
    """
    length = batch.ids.shape[1]
    place = torch.arange(crop_length(length, keep), device=batch.ids.device)[None]
    count = batch.real.sum(1, keepdim=True)
    inner = (count - 2).clamp(min=0)
    # In float64 on the host and here: float32 could round a whole product to another whole number.
    kept = (inner.double() * keep + _ROUNDING).floor().long()
    start = (uniform(batch.key, Stream.VIEW, torch.zeros_like(place[:, :1])) * (inner - kept + 1)).long()
    source = torch.where(place <= kept, place + start, count - 1)
    source = torch.where(place == 0, 0, source).clamp(0, length - 1)
    real = place < torch.minimum(kept + 2, count)
    return View(
        torch.where(real, batch.ids.gather(1, source), vocab.pad),
        torch.where(real, batch.segments.gather(1, source), 0),
        real,
    )


def info_nce(
    one: Float[Tensor, "b d"], other: Float[Tensor, "b d"], temperature: float, group: int
) -> tuple[Float[Tensor, ""], Metrics]:
    """Each vector must find its text's other view among the 2 * group - 1 other vectors of its group, by cosine.

    -log(exp(cos(s, s+) / T) / sum over s' != s of exp(cos(s, s') / T)), mean over both views (COCO-LM, section 3.3).

    group: rows that are contrasted with each other, consecutive ones: with the whole batch instead, the loss would
           depend on the number of processes and micro-batches
    UserError if the rows are not a multiple of it.
    """
    rows = one.shape[0]
    if rows % group:
        raise UserError(
            f"contrast: {rows} rows are read at once, which is no multiple of the group of {group}; choose a group "
            "that divides batch / (processes * accumulate) and eval_rows (--system.group)"
        )
    with torch.autocast(one.device.type, enabled=False):
        views = F.normalize(torch.stack([one.float(), other.float()], 1), dim=-1)  # (b, 2, d)
        views = views.view(rows // group, group, 2, -1).transpose(1, 2).flatten(1, 2)  # a group: all one, all other
        cosine = views @ views.transpose(1, 2)
    size = 2 * group
    place = torch.arange(size, device=one.device)
    itself, partner = place[:, None] == place, (place + group) % size
    scores = (cosine / temperature).masked_fill(itself, -math.inf)
    target = partner.expand(rows // group, -1)
    each = F.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none")
    loss = average(each, torch.ones_like(each))
    with torch.no_grad():
        best = scores.argmax(-1) == target
        pair = (partner[:, None] == place).expand_as(cosine)
        metrics = {
            "contrast_loss": mean(loss.detach().expand(rows), torch.ones_like(one[:, 0])),
            "contrast_accuracy": mean(best, torch.ones_like(best)),
            "cosine_same": mean(cosine, pair),
            "cosine_other": mean(cosine, ~pair & ~itself),
        }
    return loss, metrics


_ROUNDING = 1e-9


def _kept(inner: int, keep: float) -> int:
    return math.floor(max(0, inner) * keep + _ROUNDING)
