"""A generator's size and the way it is sampled: replaced share and accuracy in the order that they should have."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from electrain.batch import Batch, Selection
from electrain.corruptors.generator import propose
from electrain.corruptors.joint import Joint
from electrain.curriculum import Schedule
from electrain.errors import UserError
from electrain.metrics import read
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.system import System
from electrain.tail import Tail, shares
from tests.systems.kit import World
from tests.systems.walk import ENCODER, VOCAB, figures, learnt, text
from tests.training import one_thread  # noqa: F401 - a fixture

JOINT = Joint.Config(rate=0.25, width=0.5)


@cache
def trained(joint: Joint.Config) -> tuple[System, dict[str, float]]:
    """An ELECTRA after a short training, and its figures."""
    system = learnt(System.Config(ENCODER, joint, Rtd.Config(), weight=50.0))
    return system, figures(system)


def sampled_as(joint: Joint.Config) -> dict[str, float]:
    """Figures of the generator that `JOINT` trains, sampled from in another way."""
    system, _ = trained(JOINT)
    other = System.Config(ENCODER, joint, Rtd.Config(), weight=50.0).build(VOCAB)
    other.load_state_dict(system.state_dict())
    return figures(other)


@pytest.mark.slow
def test_a_wider_generator_is_better_and_replaces_less() -> None:
    runs = [trained(replace(JOINT, width=width))[1] for width in (1 / 8, 1 / 2, 1.0)]
    accuracy, replaced = ([run[name] for run in runs] for name in ("mlm_accuracy", "replaced"))
    assert accuracy == sorted(accuracy) and accuracy[-1] > accuracy[0] + 0.2, accuracy
    assert replaced == sorted(replaced, reverse=True) and replaced[-1] < replaced[0] - 0.01, replaced


@pytest.mark.slow
def test_a_deeper_generator_is_better_and_replaces_less() -> None:
    shallow, deep = (trained(replace(JOINT, width=1.0, depth=depth))[1] for depth in (0.5, 1.0))
    assert deep["mlm_accuracy"] > shallow["mlm_accuracy"] + 0.05 and deep["mlm_loss"] < shallow["mlm_loss"]
    assert deep["replaced"] < shallow["replaced"] - 0.004, (shallow, deep)


@pytest.mark.slow
def test_a_hotter_generator_is_right_less_often_and_replaces_more() -> None:
    """One trained generator: what it knows stays, what it draws moves."""
    hot = [sampled_as(replace(JOINT, temperature=Schedule(start=at))) for at in (0.5, 1.0, 2.0, 4.0)]
    right, replaced, entropy = (
        [run[name] for run in hot] for name in ("sampled_right", "replaced", "generator_entropy")
    )
    assert right == sorted(right, reverse=True) and right[0] > 2 * right[-1], right
    assert replaced == sorted(replaced) and entropy == sorted(entropy)
    assert len({run["mlm_loss"] for run in hot}) == len({run["mlm_accuracy"] for run in hot}) == 1
    assert hot[1] == trained(JOINT)[1]


def test_a_temperature_that_falls_with_progress() -> None:
    joint = replace(JOINT, temperature=Schedule("linear", start=4.0, end=0.5))
    system = learnt(System.Config(ENCODER, JOINT, Rtd.Config(), weight=50.0), steps=120)
    other = System.Config(ENCODER, joint, Rtd.Config()).build(VOCAB)
    other.load_state_dict(system.state_dict())
    shares = [read(other(text(5, 256), torch.tensor(at)).metrics)["replaced"] for at in (0.0, 0.5, 1.0)]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1] + 0.01, shares


@pytest.mark.slow
def test_never_right_replaces_every_selected_place() -> None:
    """In training too, and the generator learns as well: its loss still has the right token."""
    found = trained(replace(JOINT, right="never"))[1]
    assert found["sampled_right"] == 0.0
    assert found["replaced"] == pytest.approx(4 / 16)  # of 14 tokens between [CLS] and [SEP], a quarter is 4
    allowed = trained(JOINT)[1]
    assert found["mlm_accuracy"] > 0.2 and allowed["sampled_right"] > 0.05 and allowed["replaced"] < 0.24


@pytest.mark.parametrize("right", ["allowed", "never"])
@pytest.mark.parametrize("at", [None, 0.5, 3.0])
def test_samples_follow_the_tempered_softmax(right: str, at: float | None) -> None:
    """Chi-square of 40,000 draws against softmax(z / T), the right token's share taken away; entropy exactly."""
    rows, size = 40_000, 12
    ids = torch.full((rows, 1), 7)
    batch = Batch(ids, ids * 0, ids > 0, ids > 0, row_keys(1, 2, torch.arange(rows)))
    picked = Selection(torch.zeros_like(ids), ids > 0)
    z = torch.randn(size, generator=torch.Generator().manual_seed(4))
    temperature = None if at is None else torch.tensor(at)
    proposal = propose(z.expand(rows, 1, size), batch, picked, temperature, right)  # type: ignore[arg-type]
    wanted = (z / (at or 1.0)).double().exp()
    if right == "never":
        wanted[7] = 0.0
    wanted /= wanted.sum()
    counts = proposal.sampled.flatten().bincount(minlength=size)
    there = wanted > 0
    assert counts[~there].sum() == 0
    assert stats.chisquare(counts[there].numpy(), (wanted[there] * rows).numpy()).pvalue > 1e-3
    entropy = -(counts / rows * wanted.clamp(min=1e-30).log()).sum().item()
    found = read(proposal.metrics)
    assert found["generator_entropy"] == pytest.approx(entropy, rel=1e-4)
    assert found["sampled_right"] == pytest.approx(counts[7].item() / rows)
    assert proposal.loss.item() == pytest.approx(-z.log_softmax(0)[7].item(), rel=1e-5)


@pytest.mark.parametrize("at", [None, 0.5, 3.0])
def test_what_is_not_kept_is_drawn_by_frequency(at: float | None) -> None:
    """Chi-square of 40,000 draws: the likeliest as the softmax has them, the rest by frequency^(1/T)."""
    rows, size, top = 40_000, 12, 3
    ids = torch.full((rows, 1), 7)
    batch = Batch(ids, ids * 0, ids > 0, ids > 0, row_keys(1, 2, torch.arange(rows)))
    picked = Selection(torch.zeros_like(ids), ids > 0)
    z = torch.randn(size, generator=torch.Generator().manual_seed(4))
    order = z.argsort(descending=True).numpy()
    likely, special = order[:top], order[-2:]
    counted = np.arange(size) ** 2
    weight = shares(torch.from_numpy(counted), tuple(special.tolist()))
    temperature = None if at is None else torch.tensor(at)
    proposal = propose(z.expand(rows, 1, size), batch, picked, temperature, tail=Tail(top, weight))
    softmax = np.exp(z.double().numpy() / (at or 1.0))
    softmax /= softmax.sum()
    wanted = (counted + 1.0) ** (1 / (at or 1.0))
    wanted[[*likely, *special]] = 0
    wanted *= (1 - softmax[likely].sum()) / wanted.sum()
    wanted[likely] = softmax[likely]
    counts = proposal.sampled.flatten().bincount(minlength=size).numpy()
    there = wanted > 0
    assert counts[~there].sum() == 0 and there.sum() == 10
    assert stats.chisquare(counts[there], wanted[there] * rows).pvalue > 1e-3
    found = read(proposal.metrics)
    assert found["generator_entropy"] == pytest.approx(-(counts[there] / rows * np.log(wanted[there])).sum(), rel=1e-4)
    assert found["sampled_right"] == pytest.approx(counts[7] / rows)
    assert proposal.loss.item() == pytest.approx(-z.log_softmax(0)[7].item(), rel=1e-5)


def test_a_tail_of_the_data() -> None:
    """The weights are the data's when the run begins, and go with its checkpoints."""
    system = System.Config(ENCODER, replace(JOINT, kept=4), Rtd.Config()).build(VOCAB)
    counts = torch.arange(VOCAB.size)

    class Text(World):
        def frequencies(self) -> Tensor:
            return counts

    assert system.start(Text()) == "joint generator; beyond 4 tokens it is sampled by frequency"
    saved = system.state_dict()["corruptor.tail.weight"]
    assert torch.equal(saved, shares(counts, VOCAB.special))
    assert not any("tail" in name for name in System.Config(ENCODER, JOINT, Rtd.Config()).build(VOCAB).state_dict())


def test_a_vocabulary_less_than_twice_as_large_is_kept_whole() -> None:
    """As of proteins, 30 tokens: a recipe that keeps 64 works there, and samples as a generator does."""
    half = VOCAB.size // 2
    tails = [replace(JOINT, kept=kept).build(VOCAB, ENCODER.build(VOCAB)).tail for kept in (half, half + 1, 40_000)]
    assert [tail is None for tail in tails] == [False, True, True]


@pytest.mark.parametrize(
    ("kept", "right", "words"), [(4, "never", "leave one of them out"), (-1, "allowed", "or 0 for all")]
)
def test_what_cannot_be_kept_is_refused(kept: int, right: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        System.Config(ENCODER, replace(JOINT, kept=kept, right=right), Rtd.Config()).build(VOCAB)


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="keep it above 0"):
        Joint.Config(temperature=Schedule("linear", start=1.0, end=0.0))
