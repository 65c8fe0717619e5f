"""The encoder by itself: its two ways through attention, its arguments, its start. Against transformers: reference/."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from electrain.encoders import attention
from electrain.encoders.attention import Attention, attended, bias
from electrain.encoders.bert import Bert, Embeddings, sinusoids
from electrain.encoders.head import MlmHead, RtdHead
from electrain.errors import UserError
from electrain.randomness import Drop, Stream, drop, keep, row_keys
from electrain.vocab import Vocab

VOCAB = Vocab(size=211, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
SIZES = Bert.Config(layers=3, hidden=24, ffn=40, heads=3, embedding=16, positions=32)


def text(count: int = 4, length: int = 20) -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, VOCAB.size, (count, length))
    real = torch.arange(length)[None] < torch.linspace(length, 5, count).long()[:, None]
    return torch.where(real, ids, VOCAB.pad), real


def source(count: int = 4) -> Drop:
    return drop(row_keys(0, 0, torch.arange(count)), Stream.DISCRIMINATOR)


def test_both_ways_through_attention_agree() -> None:
    """The plain form, with a dropout so rare that nothing is dropped, and the fused kernel: values and gradients."""
    attention = Attention(24, 3, 1e-12)
    x = torch.randn(4, 20, 24, requires_grad=True)
    _, real = text()
    outs = [attention(x, bias(real), random, 1)[real] for random in (None, source())]
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)
    inputs = (x, *attention.parameters())
    grads = [torch.autograd.grad(out.square().sum(), inputs) for out in outs]
    for fused, plain in zip(*grads, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # short rows go the plain way
        torch.testing.assert_close(attention(x, bias(real), None, 1)[real], outs[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [5, 64, 130])
def test_bfloat16_on_a_cpu_goes_the_plain_way_and_is_the_same(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients are those of float64, within the rounding of the scores; the fused kernel is not asked."""
    made = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, 2, length, 16, generator=made).bfloat16().requires_grad_() for _ in range(3)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    real = torch.arange(length) < torch.tensor([[length], [length - 2], [2]])
    grad = torch.randn(3, 2, length, 16, generator=made)
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", None)
    found = attended(*inputs, bias(real))
    monkeypatch.undo()
    right = nn.functional.scaled_dot_product_attention(*exact, attn_mask=bias(real).double())
    assert found.dtype == torch.bfloat16
    both = zip(
        (found, *torch.autograd.grad(found, inputs, grad.bfloat16())),
        (right, *torch.autograd.grad(right, exact, grad.double())),
        strict=True,
    )
    for one, other in both:
        assert torch.linalg.vector_norm(one - other) < 0.01 * torch.linalg.vector_norm(other)


def test_long_rows_in_bfloat16_and_float32_with_gradients_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.randn(1, 1, 513, 8)
    expected = nn.functional.scaled_dot_product_attention(q, q, q)
    monkeypatch.setattr(attention, "weights", None)
    assert torch.allclose(attended(q, q, q, torch.zeros(1, 1, 1, 513)), expected, atol=1e-6)
    assert attended(*3 * [q.bfloat16()], torch.zeros(1, 1, 1, 513)).dtype == torch.bfloat16
    short = q[:, :, :8]
    assert torch.isfinite(attended(short, short, short, torch.zeros(1, 1, 1, 8))).all()
    with torch.no_grad(), pytest.raises(TypeError):  # the plain way
        attended(short, short, short, torch.zeros(1, 1, 1, 8))


def test_attention_probabilities_are_dropped() -> None:
    """By hand: softmax over the real places, the mask of that site, scaled."""
    attention = Attention(24, 3, 0.4)
    x, (_, real) = torch.randn(4, 20, 24), text()
    q, k, v = (part.view(4, 20, 3, 8).transpose(1, 2) for part in attention.qkv(x).split(24, dim=-1))
    scores = q @ k.transpose(-1, -2) / math.sqrt(8)
    weights = scores.masked_fill(~real[:, None, None], -math.inf).softmax(-1)
    weights = weights * keep(source(), 7, (4, 3, 20, 20), 0.4) / 0.6
    expected = attention.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, bias(real), source(), 7), expected, rtol=1e-5, atol=1e-6)


def test_every_dropout_has_a_site_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sites: list[int] = []

    def note(x: Tensor, p: float, random: Drop | None, site: int) -> Tensor:
        sites.append(site)
        return x

    monkeypatch.setattr("electrain.encoders.bert.dropout", note)
    monkeypatch.setattr("electrain.encoders.attention.dropout", note)
    Bert(SIZES, VOCAB)(*text(), drop=source())
    assert sorted(sites) == list(range(1 + 3 * 3))


def test_depth_and_delta() -> None:
    encoder = Bert(SIZES, VOCAB)
    ids, real = text()
    short = Bert(replace(SIZES, layers=2), VOCAB)
    short.load_state_dict({k: v for k, v in encoder.state_dict().items() if not k.startswith("layers.2")})
    assert torch.equal(encoder(ids, real, depth=2), short(ids, real))
    assert torch.equal(encoder(ids, real, depth=3), encoder(ids, real))
    assert torch.equal(encoder(ids, real, delta=torch.zeros(4, 20, 16)), encoder(ids, real))
    # A delta to another token's embedding is that token.
    other = torch.randint(5, VOCAB.size, ids.shape)
    delta = encoder.tokens(other) - encoder.tokens(ids)
    torch.testing.assert_close(encoder(ids, real, delta=delta), encoder(other, real), rtol=1e-4, atol=1e-5)


def test_segments_default_to_the_first() -> None:
    encoder = Bert(SIZES, VOCAB)
    ids, real = text()
    assert torch.equal(encoder(ids, real), encoder(ids, real, torch.zeros_like(ids)))
    assert not torch.equal(encoder(ids, real), encoder(ids, real, torch.ones_like(ids)))


def test_what_stands_at_padding_does_not_matter() -> None:
    encoder = Bert(SIZES, VOCAB)
    ids, real = text()
    other = torch.where(real, ids, 77)
    assert torch.equal(encoder(ids, real)[real], encoder(other, real)[real])


def test_bad_sizes() -> None:
    with pytest.raises(UserError, match="33 tokens: the encoder has 32 positions"):
        Bert(SIZES, VOCAB)(*text(2, 33))
    with pytest.raises(UserError, match="multiple of heads"):
        Bert.Config(hidden=30, heads=4)
    with pytest.raises(UserError, match="dropout is 1"):
        Bert.Config(dropout=1.0)


def test_a_scaled_encoder() -> None:
    base = Bert.Config(layers=12, hidden=768, ffn=3072, heads=12, embedding=768)
    third = base.scaled(1 / 3, 1.0)
    assert (third.layers, third.hidden, third.ffn, third.heads, third.embedding) == (12, 256, 1024, 4, 768)
    tiny = Bert.Config().scaled(1 / 4, 1 / 2)
    assert (tiny.layers, tiny.hidden, tiny.ffn, tiny.heads, tiny.embedding) == (6, 64, 256, 1, 128)


@pytest.mark.parametrize("init", ["normal", "fan_in"])
def test_the_start(init: str) -> None:
    """Truncated normal matrices and tables, zero biases, LayerNorms that change nothing."""
    vocab = replace(VOCAB, size=2000)
    encoder = Bert(Bert.Config(layers=1, init=init), vocab)  # type: ignore[arg-type]
    modules = [*encoder.modules(), *MlmHead(encoder).modules(), *RtdHead(encoder).modules()]
    for module in modules:
        if isinstance(module, nn.Linear):
            assert not module.bias.any()
            expected = 0.02 if init == "normal" else module.in_features**-0.5
        elif isinstance(module, nn.Embedding):
            expected = 0.02
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all() and not module.bias.any() and module.eps == 1e-12
            continue
        else:
            continue
        weight = module.weight.detach()
        assert weight.abs().max() <= 2 * expected
        if weight.numel() > 10_000:  # a normal cut at two deviations has 0.88 of its deviation
            assert weight.std().item() == pytest.approx(0.8796 * expected, rel=0.03)


def test_sinusoids() -> None:
    table = sinusoids(50, 16)
    for place, column in ((0, 0), (1, 0), (3, 5), (49, 15)):
        angle = place / 10_000 ** (2 * (column // 2) / 16)
        assert table[place, column].item() == pytest.approx(
            math.cos(angle) if column % 2 else math.sin(angle), abs=1e-5
        )
    encoder = Bert(replace(SIZES, position_start="sinusoid"), VOCAB)
    weight = encoder.embeddings.positions.weight
    assert weight.square().mean().sqrt().item() == pytest.approx(0.02, rel=1e-4)
    assert weight.requires_grad
    # A generator that shares the embeddings leaves them as they are.
    before = weight.clone()
    assert isinstance(encoder.embeddings, Embeddings)
    Bert(replace(SIZES.scaled(1 / 3, 1.0), position_start="sinusoid"), VOCAB, encoder.embeddings)
    assert torch.equal(weight, before)
