"""Layers that are alike enter the compiler once, and compute what they compute without it."""

from dataclasses import replace

import pytest
import torch
from torch.fx import GraphModule

from electrain.encoders import region
from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.randomness import Drop, Stream, drop, keep, later, row_keys
from tests.training import ELECTRA, VOCAB

LAYERS = 5
POST_LN = replace(ELECTRA.encoder, layers=LAYERS, dropout=0.1, attention_dropout=0.1)
PRE_NORM = Modern.Config(
    layers=LAYERS, hidden=48, ffn=40, heads=3, embedding=48, positions=64, window=3, global_every=2, dropout=0.1
)
IDS = torch.arange(8 * 16).view(8, 16) % 195 + 5
DROP = drop(row_keys(3, 0, torch.arange(8)), Stream.DISCRIMINATOR)


def test_randomness_from_a_later_site_on() -> None:
    for site in (0, 1, 36):
        ours, theirs = keep(later(DROP, 7), site, (8, 100), 0.5), keep(DROP, 7 + site, (8, 100), 0.5)
        assert torch.equal(ours, theirs) and 0 < ours.float().mean() < 1


@pytest.mark.skipif(not region._SHARED, reason="PyTorch before 2.13 traces every region")
@pytest.mark.parametrize(
    ("config", "shared", "kinds"),
    [(POST_LN, LAYERS, 1), (PRE_NORM, LAYERS - 1, 2)],  # local and global; the first, not normed twice, stands alone
    ids=["post-LN", "modern"],
)
@pytest.mark.parametrize("dropped", [True, False], ids=["dropout", "no dropout"])
def test_layers_that_are_alike_are_one_region(config: Encoder.Config, shared: int, kinds: int, dropped: bool) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    encoder = config.build(VOCAB)
    real = torch.ones_like(IDS, dtype=torch.bool)
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, _: list[torch.Tensor]) -> GraphModule:
        graphs.append(graph)
        return graph

    call = torch.compile(encoder, fullgraph=True, dynamic=False, backend=backend)
    with torch.no_grad():
        given = DROP if dropped else None
        torch.testing.assert_close(call(IDS, real, drop=given), encoder(IDS, real, drop=given))
    (graph,) = graphs
    regions = [node for node in graph.graph.nodes if node.target is torch.ops.higher_order.invoke_subgraph]
    assert len(regions) == shared
    assert len({node.args[0].target for node in regions}) == kinds


@pytest.mark.skipif(not region._SHARED, reason="PyTorch before 2.13 traces every region")
@pytest.mark.parametrize(
    ("config", "given"),
    [(POST_LN, DROP), (POST_LN, DROP._replace(rate=torch.tensor(0.3))), (PRE_NORM, DROP)],
    ids=["post-LN", "moving rate", "modern"],
)
def test_gradients_through_regions(config: Encoder.Config, given: Drop) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    encoder = config.build(VOCAB)
    assert isinstance(encoder, Bert | Modern)
    real = IDS < 190
    call = torch.compile(encoder, fullgraph=True, dynamic=False, backend="aot_eager")
    found = []
    for forward in (call, encoder):
        encoder.zero_grad(set_to_none=True)
        forward(IDS, real, drop=given)[real].square().sum().backward()
        found.append({name: parameter.grad for name, parameter in encoder.named_parameters()})
    for name, gradient in found[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5, msg=name)
    assert found[0]["layers.4.down.weight"].abs().max() > 0
