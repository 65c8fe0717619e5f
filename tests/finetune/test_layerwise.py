"""Layer-wise decay: which weight learns at which rate, against the formula written out."""

import pytest
import torch

from electrain.encoders.base import Encoder
from electrain.encoders.modern import Modern
from electrain.finetune.model import Tuned
from electrain.optim.adam import Adam
from electrain.optim.layerwise import Layerwise
from tests.finetune.toy import VOCAB, Yes, encoder


def rates(decay: float, inner: Encoder | None = None) -> dict[str, float]:
    inner = inner or encoder()
    model = Tuned(inner, Yes(inner, 0.1))
    optim = Layerwise(Adam(lr=1e-3, warmup=0, schedule="constant"), decay)
    optimizer = optim.build(model)
    assert optim.set_rate(optimizer, 0, 10) == {"lr": 1e-3}
    of = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert set(of) == set(model.parameters())
    return {name: of[parameter] for name, parameter in model.named_parameters()}


def test_the_last_layer_is_not_decayed_twice() -> None:
    """The official code multiplies the last layer's rate by the decay twice (its issue 51)."""
    found = rates(0.8)
    assert found["head.out.weight"] == found["head.out.bias"] == 1e-3
    assert found["encoder.layers.1.attention.qkv.weight"] == pytest.approx(0.8e-3)
    assert found["encoder.layers.1.norm.bias"] == pytest.approx(0.8e-3)
    assert found["encoder.layers.0.down.weight"] == pytest.approx(0.64e-3)
    assert found["encoder.embeddings.tokens.weight"] == pytest.approx(0.512e-3)
    assert found["encoder.project.weight"] == pytest.approx(0.512e-3)


def test_a_modern_encoder_s_closing_norm_learns_with_its_last_layer() -> None:
    sizes = Modern.Config(layers=3, hidden=32, ffn=24, heads=2, embedding=16, positions=64)
    found = rates(0.5, sizes.build(VOCAB))
    assert found["head.out.weight"] == 1e-3
    assert found["encoder.norm.weight"] == found["encoder.layers.2.attention_norm.weight"] == 0.5e-3
    assert found["encoder.layers.1.up.weight"] == 0.25e-3
    assert found["encoder.layers.0.attention.qkv.weight"] == 0.125e-3
    below = ("encoder.embeddings.tokens.weight", "encoder.embeddings.norm.weight", "encoder.project.weight")
    assert {found[name] for name in below} == {0.0625e-3}


def test_decay_of_one_is_one_rate_for_all() -> None:
    assert set(rates(1.0).values()) == {1e-3}


def test_weight_decay_spares_norms_and_biases() -> None:
    inner = encoder()
    model = Tuned(inner, Yes(inner, 0.1))
    optimizer = Layerwise(Adam(weight_decay=0.1)).build(model)
    spared = {p for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    wanted = {p for name, p in model.named_parameters() if name.endswith("bias") or "norm" in name}
    assert spared == wanted and len(wanted) > 10
    assert all(torch.equal(state["exp_avg"], torch.zeros_like(p)) for p, state in optimizer.state.items())
