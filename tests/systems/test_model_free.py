"""Unigram laws against NumPy; hybrids: the realised shares are the schedule's."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from electrain.batch import Selection, select
from electrain.corruptors.base import Corrupted
from electrain.corruptors.frozen import FALLING, Frozen
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.corruptors.mixture import Mixture
from electrain.corruptors.unigram import Unigram
from electrain.curriculum import Schedule
from electrain.errors import UserError
from electrain.metrics import read
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import World, batch, shaken
from tests.training import ENCODER, VOCAB, one_thread  # noqa: F401 - a fixture

COUNTS = World().frequencies().numpy().astype(float)
DRAWS = 400_000


def unigram(config: Unigram.Config) -> Unigram:
    made = config.build(VOCAB, ENCODER.build(VOCAB))
    assert isinstance(made, Unigram)
    made.start(World(), ENCODER.build(VOCAB))
    return made


def corrupt(config: object, rows: int = 64, step: int = 0, u: float = 0.0) -> Corrupted:
    system = System.Config(ENCODER, config, Rtd.Config()).resolve(World()).build(VOCAB)  # type: ignore[arg-type]
    shaken(system, 0.05)
    system.start(World())
    return system.corruptor(batch(step, rows), system.encoder, torch.tensor(u))


def law(config: Unigram.Config, u: float) -> np.ndarray:
    """The distribution, as one writes it down."""
    if config.law == "uniform":
        weight = np.ones(VOCAB.size)
        weight[list(VOCAB.special)] = 0.0
    else:
        weight = COUNTS ** (1 / config.temperature(torch.tensor(u, dtype=torch.float64)).item())
        weight[COUNTS == 0] = 0.0
    return weight / weight.sum()


@pytest.mark.parametrize(
    ("config", "u"),
    [
        (Unigram.Config(), 0.5),
        (Unigram.Config(law="uniform"), 0.5),
        (Unigram.Config(temperature=FALLING), 0.0),
        (Unigram.Config(temperature=FALLING), 0.2),
        (Unigram.Config(temperature=Schedule(start=1e6)), 0.0),
    ],
    ids=["unigram", "uniform", "tempered", "less", "flat"],
)
def test_draws_follow_the_law(config: Unigram.Config, u: float) -> None:
    """Evenly spread uniforms: every count is the expected one to a draw or two."""
    points = ((torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS)[None]
    made = unigram(config)
    drawn = made.draw(config.temperature(torch.tensor(u)), points)
    found = np.bincount(drawn.flatten().numpy(), minlength=VOCAB.size)
    expected = law(config, u)
    assert np.abs(found - DRAWS * expected).max() < 2
    assert not found[list(VOCAB.special)].any()
    if config.temperature.start == 1e6:
        assert expected[COUNTS > 0].max() / expected[COUNTS > 0].min() < 1.0001, "the hottest law is uniform"
    np.testing.assert_allclose(
        made.log_law(config.temperature(torch.tensor(u))).exp().numpy(), expected, rtol=1e-5, atol=1e-9
    )


def test_edges_of_the_unit_interval() -> None:
    """0 draws the first token that occurs, the last number below 1 the last one; never a special token beside them."""
    made = unigram(Unigram.Config())
    ends = torch.tensor([[0.0, 1 - 2**-53]], dtype=torch.float64)
    occurring = np.flatnonzero(COUNTS)
    assert made.draw(torch.tensor(1.0), ends).tolist() == [[occurring[0], occurring[-1]]]
    made.share[-1] = 0.0
    assert made.draw(torch.tensor(1.0), ends).tolist() == [[occurring[0], occurring[-2]]]


def test_specials_that_the_text_holds_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """[SEP] is in every document, and so among the most frequent tokens."""
    monkeypatch.setattr(World, "frequencies", lambda _: torch.full((VOCAB.size,), 10))
    made = unigram(Unigram.Config())
    assert set(np.flatnonzero(made.share.numpy() == 0)) == set(VOCAB.special)


@pytest.mark.parametrize(
    ("counts", "message"),
    [(torch.ones(7, dtype=torch.int64), "frequencies of 7 tokens for a vocabulary of 200"),
     (torch.zeros(VOCAB.size, dtype=torch.int64), "holds no token that could be drawn")],
)  # fmt: skip
def test_frequencies_that_cannot_be_used(counts: Tensor, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "frequencies", lambda _: counts)
    with pytest.raises(UserError, match=message):
        unigram(Unigram.Config())


def test_unigram_is_guessed_right_more_often_than_uniform_and_the_hotter_the_less() -> None:
    """On text that follows the frequencies, the chance to draw the token that stood there is sum p q."""
    text = np.random.default_rng(0).choice(VOCAB.size, size=(64, 16), p=COUNTS / COUNTS.sum())
    shares = {}
    for name, config in {
        "unigram": Unigram.Config(rate=0.5),
        "hot": Unigram.Config(rate=0.5, temperature=Schedule(start=4.0)),
        "uniform": Unigram.Config(rate=0.5, law="uniform"),
    }.items():
        right = total = 0.0
        for step in range(20):
            given = batch(step, 64)
            given = given._replace(ids=torch.where(given.maskable, torch.from_numpy(text), given.ids))
            value = unigram(config)(given, ENCODER.build(VOCAB), torch.tensor(0.0)).metrics["sampled_right"]
            right, total = right + value[0].item(), total + value[1].item()
        expected = (
            law(config, 0.0) * np.bincount(text[:, 1:-1].flatten(), minlength=VOCAB.size) / text[:, 1:-1].size
        ).sum()
        assert abs(right / total - expected) < 4 * math.sqrt(expected * (1 - expected) / total), name
        shares[name] = right / total
    assert shares["unigram"] > shares["hot"] > shares["uniform"]


SHARE = Schedule("linear", start=1.0, end=0.0)
HYBRID = Mixture.Config(Unigram.Config(rate=0.5), Frozen.Config(rate=0.5), SHARE)


@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 0.8, 1.0])
def test_shares_of_a_mixture_are_the_schedules(u: float) -> None:
    taken = total = 0.0
    for step in range(8):
        value = corrupt(HYBRID, step=step, u=u).metrics["first_share"]
        taken, total = taken + value[0].item(), total + value[1].item()
    wanted = SHARE(torch.tensor(u)).item()
    assert total == 8 * 64 * 7
    assert abs(taken / total - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / total)


def test_every_place_holds_the_sample_of_one_of_the_two() -> None:
    """The two select the same places, and what stands there is one's or the other's: counted against each alone."""
    whole, one, other = (corrupt(config, u=0.5) for config in (HYBRID, HYBRID.first, HYBRID.second))
    assert torch.equal(whole.picked.index, one.picked.index) and torch.equal(one.picked.index, other.picked.index)
    ones = corrupt(Mixture.Config(HYBRID.first, HYBRID.second, Schedule(start=1.0)), u=0.5)
    others = corrupt(Mixture.Config(HYBRID.first, HYBRID.second, Schedule(start=0.0)), u=0.5)
    assert torch.equal(ones.ids, one.ids) and torch.equal(others.ids, other.ids)
    assert ((whole.ids == one.ids) | (whole.ids == other.ids)).all()
    assert not torch.equal(whole.ids, one.ids) and not torch.equal(whole.ids, other.ids)
    numbers = read(whole.metrics)
    now, first, second, old = values_at(whole.picked, whole.ids, one.ids, other.ids, batch(0, 64).ids)
    certain = first != second
    assert (now == first)[certain].float().mean().item() == pytest.approx(numbers["first_share"], abs=0.03)
    parts = [numbers["first_share"] * numbers["first_replaced"]]
    parts.append((1 - numbers["first_share"]) * numbers["second_replaced"])
    assert sum(parts) == pytest.approx((now != old).float().mean().item(), abs=1e-6)


def values_at(picked: Selection, *sequences: Tensor) -> list[Tensor]:
    """What stands at the valid selected places."""
    return [sequence.gather(1, picked.index)[picked.valid] for sequence in sequences]


def test_the_choice_between_the_two_knows_nothing_of_the_draw() -> None:
    """The rare tokens, which come from uniforms near 1, are taken from the first as often as the frequent ones."""
    even = Unigram.Config(rate=0.5, law="uniform")
    taken: dict[bool, list[Tensor]] = {True: [], False: []}
    for step in range(8):
        seen, first, second = (
            corrupt(c, step=step, u=0.5) for c in (Mixture.Config(HYBRID.first, even), HYBRID.first, even)
        )
        now, one, other = values_at(seen.picked, seen.ids, first.ids, second.ids)
        for rare, found in taken.items():
            where = ((other > 100) == rare) & (one != other)
            found.append((now == one)[where].float())
    for found in taken.values():
        every = torch.cat(found)
        assert len(every) > 1000 and abs(every.mean().item() - 0.5) < 4 * 0.5 / math.sqrt(len(every))


def test_a_joint_generator_may_be_one_of_the_two() -> None:
    """Its loss stays in the sum, and its metrics under the name of its place."""
    seen = corrupt(Mixture.Config(Unigram.Config(), Joint.Config(width=0.5)), u=0.5)
    assert seen.loss.item() > 1.0 and seen.loss.requires_grad
    assert {"second_mlm_loss", "second_generator_entropy", "first_share", "replaced"} <= seen.metrics.keys()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Unigram.Config(rate=0.2), Frozen.Config()),
        (Unigram.Config(), Frozen.Config(selection=Schedule("linear", 1.0, 0.5))),
        (Unigram.Config(), Mask.Config(replacement=True)),
    ],
)
def test_two_that_select_differently_are_refused(first: object, second: object) -> None:
    with pytest.raises(UserError, match="must select the same places"):
        Mixture.Config(first, second)  # type: ignore[arg-type]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="share must stay between 0 and 1"):
        Mixture.Config(Unigram.Config(), Frozen.Config(), Schedule("linear", 1.2, 0.0))
    with pytest.raises(UserError, match=r"takes corruptors that select a rate; Mixture\.Config has none"):
        Mixture.Config(Unigram.Config(), HYBRID)
    with pytest.raises(UserError, match="temperature reaches 0"):
        Unigram.Config(temperature=Schedule("linear", 1.0, 0.0))


def test_the_selection_is_the_plain_one() -> None:
    """That of the key and the rate alone, whichever corruptor asks."""
    text = batch(0, 64)
    for config in (Unigram.Config(rate=0.5), HYBRID):
        assert torch.equal(corrupt(config).picked.index, select(text, 0.5).index)
