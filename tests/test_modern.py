"""The modern encoder: against transformers' ModernBERT, its windows, its documents apart, and under every system."""

import math
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.cost import Shape
from electrain.data.examples import Full
from electrain.encoders import rotary
from electrain.encoders.bert import Bert
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.modern import Layer, Modern
from electrain.errors import UserError
from electrain.objectives.rtd import Rtd
from electrain.randomness import Drop, Stream, drop, row_keys
from electrain.system import System
from electrain.train import pretrain
from electrain.vocab import Vocab
from tests.systems import kit
from tests.systems.cases.modern import SIZES as CASE
from tests.systems.kit import Case, World, batch, build, every_case, shaken
from tests.training import last, make_data, tiny

VOCAB = Vocab(size=211, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
SIZES = Modern.Config(layers=5, hidden=48, ffn=40, heads=3, embedding=48, positions=64, window=6)


def text(length: int = 20, *sizes: int) -> tuple[Tensor, Tensor]:
    real = torch.arange(length)[None] < torch.tensor(sizes or (length, length - 3, 10, 7))[:, None]
    return torch.where(real, torch.randint(5, VOCAB.size, real.shape), VOCAB.pad), real


def beside_transformers(sizes: Modern.Config) -> tuple[Modern, MlmHead, nn.Module, dict[str, nn.Parameter]]:
    """Encoder and head, transformers' model with the same weights, and our weights by their names in it."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    encoder = shaken(Modern(sizes, VOCAB), 0.1)
    head = shaken(MlmHead(encoder), 0.1)
    config = ModernBertConfig(
        vocab_size=VOCAB.size, hidden_size=48, intermediate_size=40, num_hidden_layers=5, num_attention_heads=3,
        max_position_embeddings=sizes.positions, local_attention=2 * sizes.window, pad_token_id=0, cls_token_id=2,
        sep_token_id=3, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    theirs = ModernBertForMaskedLM(config).eval()
    pairs: dict[str, nn.Parameter] = {"decoder.bias": head.bias}
    modules = {"model.embeddings.tok_embeddings": encoder.tokens, "model.embeddings.norm": encoder.embeddings.norm}
    modules |= {"model.final_norm": encoder.norm, "head.dense": head.dense, "head.norm": head.norm}
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, Layer)
        parts = {"attn.Wqkv": layer.attention.qkv, "attn.Wo": layer.attention.out, "mlp_norm": layer.norm}
        parts |= {"mlp.Wi": layer.up, "mlp.Wo": layer.down} | ({"attn_norm": layer.attention_norm} if number else {})
        modules |= {f"model.layers.{number}.{name}": module for name, module in parts.items()}
    pairs |= {f"{name}.weight": module.weight for name, module in modules.items()}  # type: ignore[misc]
    left = theirs.load_state_dict(pairs | {"decoder.weight": encoder.tokens.weight})
    assert not left.missing_keys and not left.unexpected_keys
    return encoder, head, theirs, pairs


@pytest.mark.parametrize(
    ("length", "window", "narrowest"), [(20, 6, 1), (20, 64, 1), (50, 6, 1), (37, 3, 8), (50, 6, 32)]
)
def test_the_same_as_transformers(length: int, window: int, narrowest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits and gradients, with all that a row can be: shorter than the window, longer, and long enough for bands."""
    monkeypatch.setattr(rotary, "_NARROWEST", narrowest)
    encoder, head, theirs, pairs = beside_transformers(replace(SIZES, window=window))
    ids, real = text(length)
    ours = head(encoder(ids, real), encoder.tokens.weight)[real]
    expected = theirs(input_ids=ids, attention_mask=real.long()).logits[real]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    ours.logsumexp(-1).sum().backward()
    expected.logsumexp(-1).sum().backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in pairs.items():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-4, msg=name)


@torch.no_grad()
def test_the_same_as_transformers_over_8192_tokens() -> None:
    encoder, head, theirs, _ = beside_transformers(replace(SIZES, window=64, positions=8192))
    ids = torch.randint(5, VOCAB.size, (1, 8192))
    ours = head(encoder(ids, torch.ones_like(ids, dtype=torch.bool)), encoder.tokens.weight)
    torch.testing.assert_close(ours, theirs(input_ids=ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("narrowest", [1, 8])
@pytest.mark.parametrize("documents", ["together", "apart"])
def test_bands_are_the_same_attention(documents: Any, narrowest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotary, "_NARROWEST", narrowest)
    encoder = shaken(Modern(replace(SIZES, window=5, documents=documents), VOCAB), 0.1)
    ids, real = text(43)
    segments = 2 * (torch.arange(43) // 17).expand(4, 43)
    outs = []
    for banded in (4, 1000):
        monkeypatch.setattr(rotary, "_BANDED", banded)
        outs.append(encoder(ids, real, segments)[real])
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [24, 60])
def test_documents_apart_are_read_as_if_alone(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of three documents gives what three rows give: positions are distances. A pair is one document."""
    monkeypatch.setattr(rotary, "_NARROWEST", 8)
    encoder = shaken(Modern(replace(SIZES, window=5, documents="apart"), VOCAB), 0.1)
    ids, real = text(length, length, length)
    cuts = (0, 7, length // 2, length)
    number = torch.cat([torch.full((end - start,), n) for n, (start, end) in enumerate(pairwise(cuts))])
    segments = (2 * number + torch.arange(length) % 2).expand_as(ids)
    packed = encoder(ids, real, segments)
    for start, end in pairwise(cuts):
        alone = encoder(ids[:, start:end], real[:, start:end])
        torch.testing.assert_close(packed[:, start:end], alone, rtol=1e-4, atol=1e-5)
    together = Modern(replace(SIZES, window=5), VOCAB)
    together.load_state_dict(encoder.state_dict())
    assert torch.equal(together(ids, real, segments), together(ids, real))


def test_a_run_keeps_documents_apart_in_both_or_in_neither(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    sizes = replace(CASE, documents="apart", positions=32)
    system = System.Config(sizes, Joint.Config(width=0.5), Rtd.Config())
    with pytest.raises(UserError, match="encoder and packing must agree on the documents of a row"):
        tiny(system, steps=3)
    with pytest.raises(UserError, match="encoder and packing must agree on the documents of a row"):
        tiny(steps=3, packing=Full.Config(documents="apart"))
    pretrain(tiny(system, steps=3, length=32, packing=Full.Config(documents="apart")), data, tmp_path / "run")
    assert last(tmp_path / "run").name == "step-000003"


def test_padding_changes_nothing_and_stays_finite() -> None:
    encoder = shaken(Modern(replace(SIZES, window=2), VOCAB), 0.1)
    ids, real = text(40, 40, 3)
    out = encoder(ids, real)
    assert out.isfinite().all()
    torch.testing.assert_close(out[1, :3], encoder(ids[1:, :3], real[1:, :3])[0], rtol=1e-4, atol=1e-5)


def test_depth_delta_and_norms() -> None:
    for norm in ("layer", "rms"):
        encoder = shaken(Modern(replace(SIZES, norm=norm, embedding=16), VOCAB), 0.1)
        ids, real = text()
        short = Modern(replace(SIZES, norm=norm, embedding=16, layers=2), VOCAB)
        short.load_state_dict(
            {k: v for k, v in encoder.state_dict().items() if not k.startswith(("layers.2", "layers.3", "layers.4"))}
        )
        assert torch.equal(encoder(ids, real, depth=2), short(ids, real))
        other = torch.randint(5, VOCAB.size, ids.shape)
        delta = encoder.tokens(other) - encoder.tokens(ids)
        torch.testing.assert_close(encoder(ids, real, delta=delta), encoder(other, real), rtol=1e-4, atol=1e-5)
        # By hand, of vectors whose mean is not zero.
        x = torch.randn(7, SIZES.hidden) + 3
        centred = x - x.mean(-1, keepdim=True) if norm == "layer" else x
        expected = centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * encoder.norm.weight
        torch.testing.assert_close(encoder.norm(x), expected, rtol=1e-5, atol=1e-5)
        assert sum(isinstance(one, type(encoder.norm)) for one in encoder.modules()) == 2 * SIZES.layers + 1


@pytest.mark.parametrize(
    ("change", "same"),
    [({"theta": 900.0}, False), ({"local_theta": 900.0}, False), ({"norm": "rms"}, False), ({"dropout": 0.3}, True)],
)
def test_a_stage_starts_from_what_computes_the_same(change: dict[str, Any], same: bool) -> None:
    """Weights of equal shapes mean something else at other rotary bases; dropout they do not know of."""
    first = Modern(replace(SIZES, **change), VOCAB)

    class First(World):
        def encoder(self) -> nn.Module:
            return first

    second = Modern(SIZES, VOCAB)
    stage = Mask.Config(encoder_start="first").build(VOCAB, second)
    if same:
        stage.start(First(), second)
        assert torch.equal(second.layers[0].up.weight, first.layers[0].up.weight)
    else:
        with pytest.raises(UserError, match="needs an encoder of the first stage's own sizes"):
            stage.start(First(), second)


def test_every_dropout_has_a_site_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sites: list[int] = []

    def note(x: Tensor, p: float, random: Drop | None, site: int) -> Tensor:
        sites.append(site)
        return x

    monkeypatch.setattr("electrain.encoders.modern.dropout", note)
    Modern(SIZES, VOCAB)(*text(), drop=drop(row_keys(0, 0, torch.arange(4)), Stream.DISCRIMINATOR))
    assert sorted(sites) == list(range(1 + 2 * 5))


def test_what_is_added_to_the_residual_stream_starts_smaller() -> None:
    encoder = Modern(replace(SIZES, layers=8, hidden=240, ffn=300), VOCAB)
    layer = encoder.layers[3]
    assert isinstance(layer, Layer)
    # A normal cut at two deviations has 0.8796 of its deviation.
    for module, scale in ((layer.attention.qkv, 1.0), (layer.up, 1.0), (layer.attention.out, 0.25), (layer.down, 0.25)):
        assert module.weight.std().item() == pytest.approx(0.8796 * 0.02 * scale, rel=0.02)
    heads = nn.ModuleList([MlmHead(encoder), RtdHead(encoder)])
    assert [name for name, _ in encoder.named_parameters() if "bias" in name] == []
    assert [name for name, _ in heads.named_parameters() if "bias" in name] == ["0.bias", "1.out.bias"]


@pytest.mark.parametrize("window", [0, 4])
def test_operations_are_those_that_run(window: int) -> None:
    """Products of the layers and of attention, by PyTorch's own count; it computes masked scores too."""
    sizes = replace(SIZES, window=window, embedding=16)
    encoder, (ids, real) = Modern(sizes, VOCAB), text(16, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder(ids, real)
    work = encoder.cost(Shape(16, 2, VOCAB.size))
    attention = sum(part.plain for part in work if part.part.endswith("attention"))
    dense = sum(part.plain for part in work) - attention
    seen = sum(sum(abs(i - j) <= window for j in range(16)) for i in range(16)) if window else 16 * 16
    local = 3 if window else 0  # layers 1, 2 and 4 of 0 .. 4
    assert attention == pytest.approx(4 * 48 * ((5 - local) * 16 * 16 + local * seen))
    full = 5 * 4 * 48 * 16 * 16
    assert counter.get_total_flops() == pytest.approx(dense + full)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 5}, "not a multiple of twice the heads, 10"),
        ({"hidden": 15, "heads": 3}, "not a multiple of twice the heads, 6"),
        ({"window": -1}, "window is -1"),
        ({"theta": math.inf}, "theta is inf"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"global_every": 0}, "global_every is 0"),
    ],
)
def test_sizes_that_cannot_be(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(SIZES, **change)


def modern(tree: Any) -> Any:
    """A configuration with every post-LN encoder in it exchanged for a modern one of the same sizes."""
    if isinstance(tree, Bert.Config):
        sizes = {name: getattr(tree, name) for name in ("layers", "hidden", "ffn", "heads", "embedding", "positions")}
        return Modern.Config(**sizes, dropout=tree.dropout, window=3, global_every=2)
    if isinstance(tree, tuple):
        return tuple(map(modern, tree))
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{field.name: modern(getattr(tree, field.name)) for field in fields(tree) if field.init})
    return tree


@every_case()
def test_every_system_takes_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """As encoder and as generator: what learns gets a gradient, what must not gets none, and the loss is a number."""
    monkeypatch.setattr(kit, "GENERATOR", modern(kit.GENERATOR))
    case = replace(case, config=modern(case.config))
    system = build(case)
    assert not any(isinstance(module, Bert) for module in system.modules())
    for step in case.steps:
        system.before(step, 0)
        output = system(batch(step, case=case), torch.full((), step / 10))
        assert output.loss.isfinite()
        output.loss.backward()
    reached = {name for name, p in system.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    wanted = {name for name, _ in system.named_parameters() if not name.startswith(case.still or ("-",))}
    assert reached == wanted, (sorted(reached - wanted), sorted(wanted - reached))
