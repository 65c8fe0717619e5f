"""AMOS: the mixture's gradient by hand, its sign, what each exit trains, what is sampled."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from electrain.corruptors.amos import Amos, against, gumbel, mixed
from electrain.corruptors.masking import mask
from electrain.encoders.head import masked_lm
from electrain.errors import UserError
from electrain.metrics import read
from electrain.objectives.rtd import Rtd
from electrain.randomness import Stream, drop, row_keys
from electrain.system import System
from tests.systems.kit import batch, shaken
from tests.training import (
    ENCODER,
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

EXITS = (1, 2, 4)


def build(**fields: Any) -> tuple[System, Amos]:
    torch.manual_seed(5)
    system = System.Config(ENCODER, Amos.Config(**{"exits": EXITS, **fields}), Rtd.Config(), weight=50.0).build(VOCAB)
    system = shaken(system, 0.1).eval()
    assert isinstance(system.corruptor, Amos)
    return system, system.corruptor


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def noise(text: Any, k: int) -> Tensor:
    return gumbel(drop(text.key, Stream.MIXTURE), (len(text.ids), k, VOCAB.size))


def test_mixture_gradient_by_hand() -> None:
    """From a gradient at the embeddings the discriminator read, through NumPy, to the vector that weighs the exits."""
    system, corruptor = build(temperature=0.4, reversal=2.0)
    text = batch()
    seen = corruptor(text, system.encoder, torch.tensor(0.0))
    assert seen.delta is not None and seen.delta.abs().max() == 0
    outer = torch.randn(seen.delta.shape, generator=torch.Generator().manual_seed(1))
    (seen.delta * outer).sum().backward()
    reached = {name for name, p in corruptor.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert "score.weight" in reached
    # Through the weights into the sections, as in the official code; through no exit's logits, so not to the head.
    assert not any("head" in name for name in reached) and system.encoder.tokens.weight.grad is not None
    table = system.encoder.tokens.weight.detach().double().numpy()

    hidden: list[np.ndarray] = []
    hook = corruptor.score.register_forward_hook(lambda _, given, __: hidden.append(given[0].detach().double().numpy()))
    ids = mask(text, seen.picked, VOCAB, masked=0.85, random=0.0)
    exits = corruptor.read(ids, text, seen.picked)
    hook.remove()
    z = np.stack([logits.detach().double().numpy() for logits in exits.logits])
    v = corruptor.score.weight.detach().double().numpy()[0]
    h = np.stack(hidden)
    a = softmax(np.moveaxis(h @ v, 0, -1))
    noisy = np.einsum("bkn,nbkv->bkv", a, z) + noise(text, z.shape[2]).double().numpy()
    y = softmax(noisy / 0.4)
    sampled = text.ids.gather(1, seen.picked.index).numpy().copy()
    valid = seen.picked.valid.numpy()
    sampled[valid] = noisy.argmax(-1)[valid]
    assert (seen.ids.gather(1, seen.picked.index).numpy()[valid] == sampled[valid]).all()

    at = np.take_along_axis(outer.double().numpy(), seen.picked.index.numpy()[..., None], 1) * valid[..., None]
    dy = -2.0 * at @ table.T
    ds = y * (dy - (y * dy).sum(-1, keepdims=True)) / 0.4
    da = np.einsum("bkv,nbkv->bkn", ds, z)
    dscore = a * (da - (a * da).sum(-1, keepdims=True))
    assert corruptor.score.weight.grad is not None
    expected = np.einsum("bkn,nbkd->d", dscore, h)
    np.testing.assert_allclose(
        corruptor.score.weight.grad.numpy()[0], expected, rtol=1e-3, atol=1e-5 * abs(expected).max()
    )


def test_each_exit_trains_its_own_section() -> None:
    system, corruptor = build()
    text = batch()
    seen = corruptor(text, system.encoder, torch.tensor(0.0))
    target = text.ids.gather(1, seen.picked.index)
    for number, (below, height) in enumerate(zip((0, *EXITS), EXITS, strict=False)):
        exits = corruptor.read(text.ids, text, seen.picked)
        corruptor.zero_grad()
        masked_lm(exits.logits[number], target, seen.picked.valid)[0].backward()
        reached = {name for name, p in corruptor.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        layers = {int(found[1]) for name in reached if (found := re.search(r"\.layers\.(\d+)\.", name))}
        assert layers == set(range(below, height))
        tables = {name.rpartition("embeddings.")[2] for name in reached if "embeddings." in name}
        lowest = {"tokens.weight", "positions.weight", "segments.weight", "norm.weight", "norm.bias"}
        assert tables == (lowest if number == 0 else {"tokens.weight"})
        assert {name for name in reached if ".head." in name} == {
            f"generator.head.{name}" for name in ("bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias")
        }
        assert "score.weight" not in reached


def test_loss_and_metrics() -> None:
    system, corruptor = build()
    text = batch()
    seen = corruptor(text, system.encoder, torch.tensor(0.0))
    ids = mask(text, seen.picked, VOCAB, masked=0.85, random=0.0)
    exits, target = corruptor.read(ids, text, seen.picked), text.ids.gather(1, seen.picked.index)
    where = seen.picked.valid
    nll = [F.cross_entropy(z[where], target[where]).item() for z in exits.logits]
    assert seen.loss.item() == pytest.approx(sum(nll), rel=1e-5)
    values = read(seen.metrics)
    assert [values[f"exit_{height}_mlm_loss"] for height in EXITS] == pytest.approx(nll, rel=1e-5)
    weights = exits.scores.softmax(-1)[where].detach()
    assert [values[f"exit_{height}_weight"] for height in EXITS] == pytest.approx(weights.mean(0).tolist(), rel=1e-5)
    assert values["mixture_entropy"] == pytest.approx(stats.entropy(weights.numpy(), axis=1).mean(), rel=1e-4)
    assert weights.std(0).min() > 1e-3, "the same weights everywhere: the test would not see a mean in place of a place"
    changed = (seen.ids.gather(1, seen.picked.index) != target)[where].float()
    by_exit = (weights * changed[:, None]).sum(0) / weights.sum(0)
    assert [values[f"exit_{height}_replaced"] for height in EXITS] == pytest.approx(by_exit.tolist(), rel=1e-5)
    blend = mixed(exits.logits, exits.scores.softmax(-1))[where].detach()
    assert values["mlm_loss"] == pytest.approx(F.cross_entropy(blend, target[where]).item(), rel=1e-5)
    drawn = seen.ids.gather(1, seen.picked.index)[where]
    assert values["generator_entropy"] == pytest.approx(F.cross_entropy(blend, drawn).item(), rel=1e-4)


def test_gumbel_numbers_and_the_samples_they_draw() -> None:
    source = drop(row_keys(0, 0, torch.arange(100)), Stream.MIXTURE)
    g = gumbel(source, (100, 200, 5))
    assert g.isfinite().all() and stats.kstest(g.flatten().numpy(), "gumbel_r").pvalue > 1e-3
    logits = torch.tensor([2.0, 0.0, 1.0, -6.0, 0.5])
    counts = torch.bincount((logits + g).argmax(-1).flatten(), minlength=5)
    assert stats.chisquare(counts.numpy(), (logits.double().softmax(0) * 20_000).numpy()).pvalue > 1e-3


def test_the_largest_gumbel_numbers_are_fine() -> None:
    """Where a maximum over a vocabulary is decided: 2 million numbers, few of them alike."""
    g = gumbel(drop(row_keys(0, 0, torch.arange(8)), Stream.MIXTURE), (8, 250_000))
    top = g.flatten().topk(1000).values
    assert len(top.unique()) > 950 and 12 < top.max() < 22.2 and g.min() > -2.9


def toy(reversal: float, steps: int = 150) -> float:
    """Weight of the exit whose samples a fixed discriminator takes for text, after training the mixture alone.

    Two exits, three tokens on a line; the discriminator's logit of "replaced" grows along it. Exit 0 proposes the token
    that it misses, exit 1 the one that it finds.
    """
    table, verdict = torch.tensor([[-2.0, 0.3], [2.0, -0.1], [0.0, 0.0]]), torch.tensor([1.0, 0.0])
    logits = [torch.tensor([3.0, 0.0, 0.0]).expand(4, 8, 3), torch.tensor([0.0, 3.0, 0.0]).expand(4, 8, 3)]
    scores = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([scores], lr=0.3)
    for step in range(steps):
        noisy = mixed(logits, scores.softmax(0).expand(4, 8, 2))
        noisy = noisy + gumbel(drop(row_keys(0, step, torch.arange(4)), Stream.MIXTURE), (4, 8, 3))
        read_by_it = table[noisy.argmax(-1)] + against((noisy / 0.3).softmax(-1), table, reversal)
        F.softplus(-(read_by_it @ verdict)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return scores.softmax(0)[0].item()


def test_the_mixture_moves_towards_the_harder_exit() -> None:
    assert toy(1.0) > 0.9
    assert toy(0.0) == 0.5
    assert toy(-1.0) < 0.1  # without the turn of the sign it would help the discriminator


def test_it_starts_with_equal_weights() -> None:
    system = System.Config(ENCODER, Amos.Config(exits=EXITS), Rtd.Config()).build(VOCAB)
    values = read(system(batch(), torch.tensor(0.0)).metrics)
    assert [values[f"exit_{height}_weight"] for height in EXITS] == pytest.approx([1 / 3] * 3)
    assert values["mixture_entropy"] == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exits": ()}, "choose rising numbers of layers"),
        ({"exits": (2, 1)}, "choose rising numbers of layers"),
        ({"exits": (1, 1)}, "choose rising numbers of layers"),
        ({"exits": (0, 1)}, "choose rising numbers of layers"),
        ({"temperature": 0.0}, "temperature is 0.0; choose a positive number"),
        ({"reversal": -1.0}, "reversal is -1.0; choose 0 or more"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Amos.Config(**fields)
