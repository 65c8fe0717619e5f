"""Emb-Gen: neighbours against a plain search, their memory and cost, the share, the L2 loss and what it does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from electrain.batch import chosen
from electrain.corruptors import nearest as module
from electrain.corruptors.nearest import Nearest, nearest
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.metrics import read
from electrain.objectives.rtd import Rtd
from electrain.system import System
from tests.systems.kit import World, batch, shaken
from tests.training import (
    ENCODER,
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)


def build(**fields: Any) -> tuple[System, Nearest]:
    torch.manual_seed(3)
    system = shaken(System.Config(ENCODER, Nearest.Config(**fields), Rtd.Config(), weight=50.0).build(VOCAB), 0.05)
    assert isinstance(system.corruptor, Nearest)
    return system, system.corruptor


def plain(table: np.ndarray, count: int, excluded: tuple[int, ...]) -> np.ndarray:
    """Every distance in float64, sorted."""
    distance = ((table[:, None].astype(np.float64) - table[None]) ** 2).sum(2)
    distance[:, list(excluded)] = np.inf
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(1)[:, :count]


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *made, 0)
        return out


@pytest.mark.parametrize("cells", [2**24, 3 * 200, 7])
@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_neighbours_are_those_of_a_plain_search(cells: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks of any size; also where the rows have a large part in common, beside which their differences round."""
    monkeypatch.setattr(module, "CELLS", cells)
    table = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + shift
    found = nearest(table, 10, VOCAB.special)
    assert (found.numpy() == plain(table.numpy(), 10, VOCAB.special)).all()
    assert not (found == torch.arange(200)[:, None]).any() and not torch.isin(found, torch.tensor(VOCAB.special)).any()


def test_a_search_holds_no_square_of_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.randn(6000, 4)
    with Largest() as seen:
        nearest(table, 3, ())
    assert 0.9 * module.CELLS < seen.elements <= module.CELLS < 6000**2
    monkeypatch.setattr(module, "CELLS", 40_000)
    with Largest() as seen:
        nearest(table, 3, ())
    assert seen.elements == 6 * 6000


def test_a_search_costs_what_is_said() -> None:
    with FlopCounterMode(display=False) as counter:
        nearest(torch.randn(500, 24), 3, ())
    assert counter.get_total_flops() == 2 * 500 * 500 * 24


def test_neighbours_are_found_anew_every_so_many_steps() -> None:
    system, corruptor = build(refresh=3)
    held = []
    for step in range(7):
        with torch.no_grad():
            system.encoder.tokens.weight.normal_(generator=torch.Generator().manual_seed(step))
        system.before(step, 0)
        held.append(corruptor.neighbours.clone())
        last = step - step % 3
        table = torch.empty(200, 16).normal_(generator=torch.Generator().manual_seed(last))
        assert (held[-1].numpy() == plain(table.numpy(), 10, VOCAB.special)).all(), step
    assert "corruptor.neighbours" in system.state_dict()


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_what_is_replaced_is_what_is_selected(rate: float) -> None:
    system, corruptor = build(rate=rate, nearest=4)
    system.before(0, 0)
    ranks = []
    for step in range(60):
        text = batch(step)
        seen = system.corruptor(text, system.encoder, torch.tensor(0.0))
        assert torch.equal(seen.replaced, chosen(seen.picked, 16))
        assert read(seen.metrics)["replaced"] == pytest.approx(round(14 * rate) / 16)
        old, new = text.ids[seen.replaced], seen.ids[seen.replaced]
        rank = corruptor.neighbours[old] == new[:, None]
        assert (rank.sum(1) == 1).all()
        ranks.append(rank.sum(0))
    assert stats.chisquare(torch.stack(ranks).sum(0).numpy()).pvalue > 1e-3


def test_loss_and_gradient_by_hand() -> None:
    system, _ = build(pull=0.7)
    system.before(0, 0)
    text = batch(1)
    seen = system.corruptor(text, system.encoder, torch.tensor(0.0))
    seen.loss.backward()
    table = system.encoder.tokens.weight.detach().double().numpy()
    old, new = text.ids[seen.replaced].numpy(), seen.ids[seen.replaced].numpy()
    gap = table[old] - table[new]
    assert seen.loss.item() == pytest.approx(0.7 * (gap**2).sum(1).mean(), rel=1e-5)
    gradient = np.zeros_like(table)
    np.add.at(gradient, old, 0.7 * 2 * gap / len(old))
    np.add.at(gradient, new, -0.7 * 2 * gap / len(old))
    assert system.encoder.tokens.weight.grad is not None
    np.testing.assert_allclose(system.encoder.tokens.weight.grad.numpy(), gradient, atol=1e-6)
    pairs = ((table[:, None] - table[None]) ** 2).sum(2)
    relative = (gap**2).sum(1).mean() / pairs.mean()
    assert read(seen.metrics)["neighbour_l2_relative"] == pytest.approx(relative, rel=1e-5)


def test_the_pull_alone_makes_neighbours_one_point() -> None:
    """Relative to the spread of the table: what is lost is the difference between tokens, not the table's scale."""
    system, _ = build(refresh=10)
    optimizer = torch.optim.AdamW([system.encoder.tokens.weight], lr=2e-3, weight_decay=0.0)
    relative = []
    for step in range(161):
        system.before(step, 0)
        seen = system.corruptor(batch(step, rows=64), system.encoder, torch.tensor(0.0))
        seen.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        relative.append(read(seen.metrics)["neighbour_l2_relative"])
    assert relative[0] > 0.4 and relative[80] < 0.2 and relative[160] < 0.02, relative[::40]


def test_the_table_comes_from_a_trained_network() -> None:
    system, _ = build(source="somewhere")
    network = World().masked_lm("somewhere")
    assert isinstance(network, EncoderLm)
    assert not torch.equal(system.encoder.tokens.weight, network.encoder.tokens.weight)
    assert system.start(World()) == "token table from somewhere"
    assert torch.equal(system.encoder.tokens.weight, network.encoder.tokens.weight)
    own, _ = build()
    before = own.encoder.tokens.weight.clone()
    assert own.start(World()) == "" and torch.equal(own.encoder.tokens.weight, before)


def test_a_table_of_another_width_is_refused() -> None:
    config = System.Config(replace(ENCODER, embedding=8), Nearest.Config(source=""), Rtd.Config())
    with pytest.raises(UserError, match="the token table of the first stage is 16 wide, the encoder's 8"):
        config.build(VOCAB).start(World())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nearest": 0}, "nearest is 0; choose 1 or more"),
        ({"refresh": 0}, "refresh is 0; choose 1 or more"),
        ({"pull": -1.0}, "pull is -1.0; choose 0 or more"),
        ({"nearest": 196}, "nearest is 196; a token of this vocabulary has 195 others"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**fields)
