"""All-Tokens MLM: its loss in NumPy, chunks that change nothing, bounded memory, and a gate that learns to open."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from electrain.batch import Batch
from electrain.corruptors.base import Corrupted
from electrain.corruptors.joint import Joint
from electrain.encoders import everywhere
from electrain.encoders.bert import Bert
from electrain.encoders.head import MlmHead
from electrain.memory import Live
from electrain.metrics import read
from electrain.objectives.base import Scored
from electrain.objectives.copy_mlm import CopyMlm
from electrain.system import System
from tests.systems.cases.ablations import CASES
from tests.systems.kit import batch, build
from tests.systems.walk import ENCODER as WALKER
from tests.systems.walk import figures, learnt
from tests.training import (
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("unchecked")


def scored(padded: int = 3) -> tuple[System, Scored, Corrupted, Batch, Tensor]:
    """The objective over a corrupted batch with padding, and the vectors that it was asked about."""
    system = build(CASES["all_tokens_mlm"])
    assert isinstance(system, System)
    text = batch()
    real = text.real.clone()
    real[:4, -padded:] = False
    text = text._replace(real=real, maskable=text.maskable & real)
    seen = system.corruptor(text, system.encoder, torch.zeros(()))
    hidden = system.encoder(seen.ids, text.real).detach().requires_grad_()
    return system, system.objective(hidden, seen, text, system.encoder), seen, text, hidden


def mixture(system: System, hidden: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Gate and softmax of the head, in float64 by NumPy alone."""
    weights = {name: p.detach().double().numpy() for name, p in system.objective.named_parameters()}
    h = hidden.detach().double().numpy()
    gate = expit(h @ weights["gate.weight"][0] + weights["gate.bias"])
    x = h @ weights["head.dense.weight"].T + weights["head.dense.bias"]
    x = x * (1 + erf(x / np.sqrt(2))) / 2
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + system.encoder.norm_eps)
    x = x * weights["head.norm.weight"] + weights["head.norm.bias"]
    z = x @ system.encoder.tokens.weight.detach().double().numpy().T + weights["head.bias"]
    q = np.exp(z - z.max(-1, keepdims=True))
    return gate, q / q.sum(-1, keepdims=True)


def test_loss_and_metrics_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """p(x) = D 1[x = s] + (1 - D) q(x) as probabilities, the whole distribution at hand; chunks with a remainder."""
    monkeypatch.setattr(everywhere, "PLACES", 13)
    system, out, seen, text, hidden = scored()
    gate, q = mixture(system, hidden)
    ids, read_ids, real = text.ids.numpy(), seen.ids.numpy(), text.real.numpy()
    p = (1 - gate)[..., None] * q
    np.put_along_axis(p, read_ids[..., None], np.take_along_axis(p, read_ids[..., None], 2) + gate[..., None], 2)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-9)
    true = np.take_along_axis(p, ids[..., None], 2)[..., 0]
    assert real.sum() < real.size and (read_ids != ids).sum() > 3
    assert out.loss.item() == pytest.approx(-np.log(true)[real].mean(), rel=1e-5)
    metrics = read(out.metrics)
    assert metrics["copy_loss"] == pytest.approx(out.loss.item())
    assert metrics["gate_untouched"] == pytest.approx(gate[real & (ids == read_ids)].mean(), rel=1e-4)
    assert metrics["gate_replaced"] == pytest.approx(gate[ids != read_ids].mean(), rel=1e-4)
    picked = np.zeros(ids.shape, dtype=bool)
    for row, (index, valid) in enumerate(zip(seen.picked.index, seen.picked.valid, strict=True)):
        picked[row, index[valid].numpy()] = True
    assert metrics["mlm_accuracy"] == pytest.approx((p.argmax(-1) == ids)[picked].mean(), abs=1e-6)


def test_accuracy_counts_what_the_head_corrects() -> None:
    """With the gate shut, the head's own best word decides; with it open, what is read."""
    system, _, seen, text, hidden = scored()
    assert isinstance(system.objective, CopyMlm)
    with torch.no_grad():
        system.objective.gate.weight.zero_()
        _, q = mixture(system, hidden)
        for bias, wanted in ((-30.0, q.argmax(-1)), (30.0, seen.ids.numpy())):
            system.objective.gate.bias.fill_(bias)
            right = torch.from_numpy(wanted) == text.ids
            picked = torch.zeros_like(text.ids).scatter_add(1, seen.picked.index, seen.picked.valid.long()) > 0
            metrics = read(system.objective(hidden, seen, text, system.encoder).metrics)
            assert metrics["mlm_accuracy"] == pytest.approx(right[picked].float().mean().item())


def test_a_saturated_gate_stays_finite() -> None:
    """In probabilities, 1 - sigmoid(200) is 0 and its logarithm infinite."""
    system, _, seen, text, hidden = scored()
    assert isinstance(system.objective, CopyMlm)
    for bias in (-200.0, 200.0):
        with torch.no_grad():
            system.objective.gate.bias.fill_(bias)
        system.zero_grad()
        out = system.objective(hidden, seen, text, system.encoder)
        out.loss.backward()
        grads = [p.grad for p in system.objective.parameters() if p.grad is not None]
        assert out.loss.isfinite() and len(grads) > 4 and all(grad.isfinite().all() for grad in grads)
        assert out.loss > 3  # what is wrong costs its 200 nats, or all words are guessed


def test_chunks_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for places in (13, 10_000):
        monkeypatch.setattr(everywhere, "PLACES", places)
        system, out, _, _, hidden = scored()
        out.loss.backward()
        named = {name: p.grad for name, p in system.named_parameters() if p.grad is not None}
        found.append({**named, "hidden": hidden.grad})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 6
    for name, grad in found[0].items():
        assert grad is not None and grad.abs().sum() > 0
        torch.testing.assert_close(grad, found[1][name], rtol=1e-4, atol=1e-8)


def peak(places: int) -> int:
    """Bytes alive at once while the head reads `places` places over BERT's vocabulary, backward pass included."""
    vocab = replace(VOCAB, size=30_522)
    head = MlmHead(Bert.Config(layers=1, hidden=64, ffn=64, heads=1, embedding=64).build(vocab))
    with FakeTensorMode():
        for module in head.modules():
            for name, old in module.named_parameters(recurse=False):
                setattr(module, name, nn.Parameter(torch.empty(old.shape)))
        table = torch.empty(vocab.size, 64, requires_grad=True)
        hidden = torch.empty(places, 64, requires_grad=True)
        ids = torch.zeros(places, 2, dtype=torch.int64)
        with Live() as live:
            with torch.autocast("cpu", torch.bfloat16):
                asked, _ = everywhere.log_probabilities(head, hidden, table, ids)
            asked.sum().backward()
        return live.most


def test_memory_is_that_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `PLACES` states it; all places at once would take eight times as much."""
    bounded = peak(8 * everywhere.PLACES)
    logits = everywhere.PLACES * 30_522
    assert 1.0 * 2**30 < bounded < 1.4 * 2**30
    assert bounded < 1.2 * peak(everywhere.PLACES)
    monkeypatch.setattr(everywhere, "PLACES", 8 * everywhere.PLACES)
    assert peak(everywhere.PLACES) > 6 * bounded
    assert bounded > 8 * logits


def test_the_gate_opens_on_untouched_tokens() -> None:
    """More than their share alone would have it (a gate that sees nothing settles there), and not on replaced ones."""
    system = learnt(System.Config(WALKER, Joint.Config(rate=0.25, width=0.25), CopyMlm.Config()))
    found = figures(system)
    assert found["gate_untouched"] > 1 - found["replaced"] > 0.75, found
    assert found["gate_untouched"] > found["gate_replaced"] + 0.2, found
    assert found["mlm_accuracy"] > found["sampled_right"]
