"""Span head: a start, an end given the start, and for 2.0 whether there is an answer at all."""

from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from electrain.batch import Batch
from electrain.encoders.base import Encoder
from electrain.finetune.task import Head
from electrain.randomness import Drop

HIDDEN = 512  # official code: width of the hidden layers, whatever the encoder's
FAR = -1e4  # a logit whose softmax is 0 in float32, and which stays finite in a sum
WEIGHT = 0.5  # official code: of the loss of answerability


class Beam(NamedTuple):
    """What the head says of each row: the k likeliest starts, and the k likeliest ends of each; k <= beam.

    start_log_prob  log p(start), best first
    start           places in the row
    end_log_prob    log p(end | start), best first
    end             places in the row; may lie before the start
    no_answer       logit, positive where the passage seems not to answer; 0 from a head of SQuAD 1.1
    """

    start_log_prob: Float[Tensor, "b k"]
    start: Int[Tensor, "b k"]
    end_log_prob: Float[Tensor, "b k k"]
    end: Int[Tensor, "b k k"]
    no_answer: Float[Tensor, "b 1"]


@final
class Answerability(nn.Module):
    """Logit of "no answer" from [CLS] and the mean of all places weighted by p(start) (official ELECTRA code)."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.dense = nn.Linear(2 * encoder.width, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)
        encoder.start(self.dense)
        encoder.start(self.out)

    def forward(self, hidden: Float[Tensor, "b t d"], start_log_prob: Float[Tensor, "b t"]) -> Float[Tensor, " b"]:
        mean = (start_log_prob.exp().to(hidden.dtype).unsqueeze(1) @ hidden).squeeze(1)
        return self.out(F.gelu(self.dense(torch.cat([hidden[:, 0], mean], dim=1)))).squeeze(1).float()


@final
class SpanHead(Head):
    """Logits of every place: of the start; of the end, by a hidden layer that reads the place and the start together.

    Source: ELECTRA's official code (qa_tasks), after XLNet (Yang et al., 2019, appendix A.2). Training takes the true
    start, prediction a beam of the likeliest. Answers stand in the passage, or at [CLS] where there is none; all other
    places get probability 0, the closing [SEP] too (the official code leaves it in). Nothing is dropped, as there.
    Weights start as the encoder's do (there: Glorot's uniform).

    Targets are (start, end, impossible).
    """

    def __init__(self, encoder: Encoder, answerability: Answerability | None = None, beam: int = 20):
        super().__init__()
        self.beam = beam
        self.start = nn.Linear(encoder.width, 1)
        self.end_dense = nn.Linear(2 * encoder.width, HIDDEN)  # its first columns read the start's vector
        self.end = nn.Linear(HIDDEN, 1)
        for module in (self.start, self.end_dense, self.end):
            encoder.start(module)
        self.answerability = answerability

    def forward(
        self, hidden: Float[Tensor, "b t d"], batch: Batch, target: Int[Tensor, "b 3"], drop: Drop | None
    ) -> Float[Tensor, " b"]:
        places = answer_places(batch)
        start, end, impossible = target.unbind(1)
        starts = self._starts(hidden, places)
        row = torch.arange(hidden.shape[0], device=hidden.device)
        ends = self._ends(self._beside(hidden), hidden[row, start], places)
        loss = -(starts[row, start] + ends[row, end]) / 2
        if self.answerability is None:
            return loss
        logit = self.answerability(hidden, starts)
        return loss + WEIGHT * F.binary_cross_entropy_with_logits(logit, impossible.float(), reduction="none")

    def predict(self, hidden: Float[Tensor, "b t d"], batch: Batch) -> Beam:
        places = answer_places(batch)
        starts = self._starts(hidden, places)
        k = min(self.beam, hidden.shape[1])
        start_log_prob, start = starts.topk(k, dim=1)
        row = torch.arange(hidden.shape[0], device=hidden.device)
        beside = self._beside(hidden)
        # One start at a time: all at once would hold b x k x t x 512 numbers.
        ends = torch.stack([self._ends(beside, hidden[row, start[:, i]], places) for i in range(k)], dim=1)
        end_log_prob, end = ends.topk(k, dim=2)
        logit = torch.zeros_like(starts[:, 0]) if self.answerability is None else self.answerability(hidden, starts)
        return Beam(start_log_prob, start.int(), end_log_prob, end.int(), logit.unsqueeze(1))

    def _starts(self, hidden: Float[Tensor, "b t d"], places: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """Log p(start)."""
        return _log_softmax(self.start(hidden).squeeze(2), places)

    def _beside(self, hidden: Float[Tensor, "b t d"]) -> Float[Tensor, "b t h"]:
        """The dense layer's share of every place, the same for all starts."""
        return F.linear(hidden, self.end_dense.weight[:, hidden.shape[2] :], self.end_dense.bias)

    def _ends(
        self, beside: Float[Tensor, "b t h"], start: Float[Tensor, "b d"], places: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b t"]:
        """Log p(end | start), from the start's vector."""
        shared = F.linear(start, self.end_dense.weight[:, : start.shape[1]])
        return _log_softmax(self.end(F.gelu(beside + shared.unsqueeze(1))).squeeze(2), places)


def answer_places(batch: Batch) -> Bool[Tensor, "b t"]:
    """[CLS] and the passage's places: those of segment 1 but for the row's last real one, its [SEP]."""
    followed = F.pad(batch.real[:, 1:], (0, 1))
    first = torch.arange(batch.ids.shape[1], device=batch.ids.device) == 0
    return ((batch.segments == 1) & followed) | first


def _log_softmax(logits: Float[Tensor, "b t"], places: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    return torch.where(places, logits.float(), FAR).log_softmax(1)
