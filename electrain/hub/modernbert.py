"""Our modern encoder and transformers' ModernBERT: names, sizes, and the verdict as a classifier of two labels."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.modern import Embeddings, Layer, Modern
from electrain.errors import UserError
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import ModernBertConfig, PreTrainedConfig

LABELS = ("original", "replaced")
# Of what ModernBERT can be told, the one value that our encoder computes.
_ONLY = {
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
    "hidden_activation": "gelu",
    "classifier_activation": "gelu",
}
_KINDS = ("full_attention", "sliding_attention")


def fits(encoder: Encoder | None) -> TypeGuard[Modern]:
    """Whether ModernBERT computes what an encoder does: it has no projection of its token table, and no RMSNorm."""
    return isinstance(encoder, Modern) and encoder.project is None and encoder.config.norm == "layer"


def canonical(config: Modern.Config) -> Modern.Config:
    """The one of several configurations that compute the same: one layer is not said to be global every third time."""
    local = [config.local(number) for number in range(config.layers)]
    if not any(local):
        return replace(config, window=0, global_every=1, local_theta=Modern.Config.local_theta)
    return replace(config, global_every=_every(local))


def _every(local: list[bool]) -> int:
    """Distance of the first two global layers; all layers where there is but one."""
    return next((number for number in range(1, len(local)) if not local[number]), len(local))


def modules_of(encoder: Modern) -> list[tuple[tuple[str, ...], nn.Module]]:
    """An encoder's modules by their names in transformers."""
    tables = cast(Embeddings, encoder.embeddings)
    modules: list[tuple[tuple[str, ...], nn.Module]] = [
        (("model.embeddings.tok_embeddings",), tables.tokens),
        (("model.embeddings.norm",), tables.norm),
        (("model.final_norm",), encoder.norm),
    ]
    for number, layer in enumerate(cast(list[Layer], encoder.layers)):
        named = {
            "attn_norm": layer.attention_norm,
            "attn.Wqkv": layer.attention.qkv,
            "attn.Wo": layer.attention.out,
            "mlp_norm": layer.norm,
            "mlp.Wi": layer.up,
            "mlp.Wo": layer.down,
        }
        modules += [((f"model.layers.{number}.{name}",), module) for name, module in named.items()]
    return modules


def head_modules(head: MlmHead | RtdHead) -> list[tuple[tuple[str, ...], nn.Module]]:
    """A head's modules by their names in transformers; `decoder.bias`, which is no module's of ours, is left out."""
    found: list[tuple[tuple[str, ...], nn.Module]] = [(("head.dense",), head.dense), (("head.norm",), head.norm)]
    return [*found, (("classifier",), head.out)] if isinstance(head, RtdHead) else found


def as_labels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The logit of "replaced" as that of the second of two labels, the first one's always 0: the same probability."""
    return {
        name: torch.cat([torch.zeros_like(value), value]) if name.startswith("classifier.") else value
        for name, value in weights.items()
    }


def as_logit(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A classifier of two labels as the logit of the second. One of other labels is no such head, and is left out."""
    two = {name: value for name, value in weights.items() if name.startswith("classifier.")}
    made = {name: value[1:] - value[:1] for name, value in two.items() if len(value) == len(LABELS)}
    return {name: value for name, value in weights.items() if name not in two} | made


def config_of(config: Modern.Config, vocab: Vocab, head: MlmHead | RtdHead | None = None) -> "ModernBertConfig":
    """Our sizes as transformers writes them, with the labels of verdicts where the head gives them."""
    from transformers import ModernBertConfig

    rope = dict(zip(_KINDS, (config.theta, config.local_theta), strict=True))
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: at for at, name in enumerate(LABELS)}}
    return ModernBertConfig(
        vocab_size=vocab.size,
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.positions,
        layer_types=[_KINDS[config.local(number)] for number in range(config.layers)],
        rope_parameters={kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in rope.items()},
        local_attention=2 * max(1, config.window),
        norm_eps=config.norm_eps,
        initializer_range=config.init_scale,
        embedding_dropout=config.dropout,
        mlp_dropout=config.dropout,
        pad_token_id=vocab.pad,
        cls_token_id=vocab.cls,
        bos_token_id=vocab.cls,
        sep_token_id=vocab.sep,
        eos_token_id=vocab.sep,
        **_ONLY,
        **(labels if isinstance(head, RtdHead) else {}),
    )


def sizes_of(theirs: "PreTrainedConfig", name: object) -> Modern.Config:
    """A ModernBERT's sizes as ours. UserError if it computes something that our encoder does not."""
    for key, value in _ONLY.items():
        if (other := getattr(theirs, key, value)) != value:
            raise UserError(f"{name}: {key} is {other}, and only {value} can be loaded; choose another model")
    kinds: list[str] = list(theirs.layer_types)
    local = [kind != _KINDS[0] for kind in kinds]
    every = _every(local)
    if set(kinds) - set(_KINDS) or local != [number % every != 0 for number in range(len(kinds))]:
        raise UserError(f"{name}: its global layers do not come at even distances; choose another model")
    if any(local) and theirs.local_attention < 2:  # half of it to each side is 0, which is "no window" in ours
        alone = f"local_attention is {theirs.local_attention}, so that a place sees itself alone"
        raise UserError(f"{name}: {alone}; choose another model")
    thetas = [_theta(theirs.rope_parameters, kind, name) for kind in _KINDS]
    made = Modern.Config(
        layers=theirs.num_hidden_layers,
        hidden=theirs.hidden_size,
        ffn=theirs.intermediate_size,
        heads=theirs.num_attention_heads,
        embedding=theirs.hidden_size,
        positions=theirs.max_position_embeddings,
        window=theirs.local_attention // 2,
        global_every=every,
        theta=thetas[0],
        local_theta=thetas[1],
        norm_eps=theirs.norm_eps,
        dropout=float(theirs.mlp_dropout),
        init_scale=theirs.initializer_range,
    )
    return canonical(made)


def _theta(rope: dict[str, dict[str, Any]], kind: str, name: object) -> float:
    found = rope.get(kind) or {}
    if found.get("rope_type", "default") != "default":
        raise UserError(f"{name}: rope_type is {found['rope_type']}, and only default can be loaded")
    return float(found.get("rope_theta", 10_000.0))
