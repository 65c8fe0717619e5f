"""The span head against the same written in NumPy and SciPy; what may be an answer; compiled whole."""

import numpy as np
import pytest
import torch
from scipy.special import erf, expit, log_softmax
from torch import Tensor

from electrain.batch import Batch
from electrain.encoders.bert import Bert
from electrain.finetune.squad.head import Answerability, SpanHead, answer_places
from electrain.vocab import Vocab

VOCAB = Vocab(size=50, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
ENCODER = Bert.Config(layers=1, hidden=8, ffn=8, heads=2, embedding=8, positions=16).build(VOCAB)
LENGTH = 14


def batch_of(rows: list[tuple[int, int]], length: int = LENGTH) -> Batch:
    """Rows of so many tokens of question and passage."""
    ids, segments, real = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(3))
    for row, (asked, passage) in enumerate(rows):
        size = asked + passage + 3
        ids[row, :size] = 9
        ids[row, 0], ids[row, asked + 1], ids[row, size - 1] = VOCAB.cls, VOCAB.sep, VOCAB.sep
        segments[row, asked + 2 : size], real[row, :size] = 1, 1
    return Batch(ids, segments, real.bool(), real.bool() & (ids == 9), torch.zeros(len(rows), dtype=torch.int64))


BATCH = batch_of([(3, 5), (2, 9), (4, 0)])
PLACES = [[0, 5, 6, 7, 8, 9], [0, *range(4, 13)], [0]]


def made(answerability: bool, beam: int = 4) -> tuple[SpanHead, Tensor, Tensor]:
    head = SpanHead(ENCODER, Answerability(ENCODER) if answerability else None, beam)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    target = torch.tensor([[6, 8, 0], [0, 0, 1], [0, 0, 1]])
    return head, torch.randn(3, LENGTH, 8), target


def layer(x: np.ndarray, linear: torch.nn.Linear) -> np.ndarray:
    return x @ linear.weight.detach().numpy().T.astype(float) + linear.bias.detach().numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def end_log_prob(head: SpanHead, hidden: np.ndarray, row: int, start: int) -> dict[int, float]:
    joined = [np.concatenate([hidden[row, start], hidden[row, place]]) for place in PLACES[row]]
    scores = log_softmax(layer(gelu(layer(np.array(joined), head.end_dense)), head.end)[:, 0])
    return dict(zip(PLACES[row], scores, strict=True))


def start_log_prob(head: SpanHead, hidden: np.ndarray, row: int) -> dict[int, float]:
    return dict(zip(PLACES[row], log_softmax(layer(hidden[row, PLACES[row]], head.start)[:, 0]), strict=True))


def no_answer(head: SpanHead, hidden: np.ndarray, row: int) -> float:
    assert head.answerability is not None
    mean = sum(np.exp(p) * hidden[row, place] for place, p in start_log_prob(head, hidden, row).items())
    joined = np.concatenate([hidden[row, 0], mean])
    return layer(gelu(layer(joined, head.answerability.dense)), head.answerability.out)[0]


def test_answers_stand_in_the_passage_or_at_cls() -> None:
    places = answer_places(BATCH)
    assert [row.nonzero().flatten().tolist() for row in places] == PLACES


@pytest.mark.parametrize("answerability", [False, True])
def test_the_loss(answerability: bool) -> None:
    head, hidden, target = made(answerability)
    loss = head(hidden, BATCH, target, None)
    x = hidden.numpy().astype(float)
    for row, (start, end, impossible) in enumerate(target.tolist()):
        expected = -(start_log_prob(head, x, row)[start] + end_log_prob(head, x, row, start)[end]) / 2
        if answerability:
            p = expit(no_answer(head, x, row))
            expected -= 0.5 * np.log(p if impossible else 1 - p)
        assert loss[row].item() == pytest.approx(expected, rel=1e-4)


def test_the_beam() -> None:
    head, hidden, _ = made(True)
    beam = head.predict(hidden, BATCH)
    x = hidden.numpy().astype(float)
    assert beam.end.shape == (3, 4, 4)
    for row in range(3):
        starts = sorted(start_log_prob(head, x, row).items(), key=lambda pair: -pair[1])[:4]
        for i, (place, score) in enumerate(starts):
            assert beam.start[row, i] == place
            assert beam.start_log_prob[row, i].item() == pytest.approx(score, abs=1e-4)
            ends = sorted(end_log_prob(head, x, row, place).items(), key=lambda pair: -pair[1])[:4]
            assert beam.end[row, i, : len(ends)].tolist() == [place for place, _ in ends]
            assert beam.end_log_prob[row, i, : len(ends)].tolist() == pytest.approx([p for _, p in ends], abs=1e-4)
        assert (beam.start_log_prob[row, len(starts) :] < -1000).all(), "places that are none have no chance"
        assert beam.no_answer[row].item() == pytest.approx(no_answer(head, x, row), abs=1e-4)
    assert not SpanHead(ENCODER).predict(hidden, BATCH).no_answer.any()


def test_short_rows_have_short_beams() -> None:
    beam = SpanHead(ENCODER, beam=20).predict(torch.randn(1, 6, 8), batch_of([(1, 2)], 6))
    assert beam.start.shape == (1, 6) and beam.end.shape == (1, 6, 6)


def test_padding_changes_nothing() -> None:
    head, hidden, target = made(True)
    row = batch_of([(3, 5)], 11)
    short = hidden[:1, :11]
    torch.testing.assert_close(head(short, row, target[:1], None), head(hidden, BATCH, target, None)[:1])
    for one, other in zip(head.predict(short, row), head.predict(hidden, BATCH), strict=True):
        torch.testing.assert_close(one, other[:1])


def test_gradients_reach_every_weight_and_only_real_places() -> None:
    head, hidden, target = made(True)
    hidden.requires_grad_()
    head(hidden, BATCH, target, None).sum().backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    # A softmax does not see what is added to all of its logits.
    assert all(gradient.any() for name, gradient in gradients.items() if name not in ("start.bias", "end.bias"))
    assert hidden.grad is not None
    touched = hidden.grad.abs().sum(2) > 0
    assert [row.nonzero().flatten().tolist() for row in touched] == PLACES


@pytest.mark.parametrize("answerability", [False, True])
def test_one_graph(answerability: bool) -> None:
    """Compiled whole, and in bfloat16 autocast: the probabilities are float32 all the same."""
    head, hidden, target = made(answerability, beam=2)
    forward = torch.compile(head, fullgraph=True, backend="eager")
    predict = torch.compile(head.predict, fullgraph=True, backend="eager")
    torch.testing.assert_close(forward(hidden, BATCH, target, None), head(hidden, BATCH, target, None))
    for one, other in zip(predict(hidden, BATCH), head.predict(hidden, BATCH), strict=True):
        torch.testing.assert_close(one, other)
    with torch.autocast("cpu", torch.bfloat16):
        assert head(hidden.bfloat16(), BATCH, target, None).dtype == torch.float32
        beam = head.predict(hidden.bfloat16(), BATCH)
    assert beam.start_log_prob.dtype == beam.end_log_prob.dtype == beam.no_answer.dtype == torch.float32
