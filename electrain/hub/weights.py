"""One table of names, read both ways: our weights and those of transformers' ELECTRA, BERT and ModernBERT classes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import electrain.hub.modernbert as modernbert
from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert, Embeddings, Layer
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.systems.base import Pretraining
from electrain.systems.networks import Part, networks
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import BertConfig, ElectraConfig, ModernBertConfig, PreTrainedModel

Family = Literal["electra", "bert", "modernbert"]


class Model(NamedTuple):
    """An encoder and the head that reads it: what one folder of transformers holds."""

    encoder: Bert | Modern
    head: MlmHead | RtdHead

    @property
    def family(self) -> Family:
        """The model type of transformers that a folder of this part has: bert where it can be, electra otherwise; of a
        modern encoder modernbert.
        """
        if isinstance(self.encoder, Modern):
            return "modernbert"
        return "bert" if isinstance(self.head, MlmHead) and self.encoder.project is None else "electra"


def parts(system: Pretraining) -> dict[Part, Model]:
    """What a system can be exported as: those of its networks whose encoder is one that transformers knows."""
    found = networks(system).items()
    return {part: Model(network.encoder, network.head) for part, network in found if known(network.encoder)}


def known(encoder: Encoder | None) -> TypeGuard[Bert | Modern]:
    """Whether transformers has an encoder that computes the same."""
    return isinstance(encoder, Bert) or modernbert.fits(encoder)


def part_of(system: Pretraining, part: Part) -> Model:
    """One part. UserError if the system has no such part, or transformers cannot hold it."""
    found = parts(system)
    if part not in found:
        there = ", ".join(found) or "nothing that transformers can hold"
        why = " that transformers can hold" if part in networks(system) else ""
        raise UserError(f"export: this run has no {part}{why}; it has: {there}")
    return found[part]


def modules_of(encoder: Bert | Modern, family: Family) -> list[tuple[tuple[str, ...], nn.Module]]:
    """An encoder's modules by their names in transformers; several names where one of ours stands for several."""
    if isinstance(encoder, Modern):
        return modernbert.modules_of(encoder)
    tables = cast(Embeddings, encoder.embeddings)
    modules: list[tuple[tuple[str, ...], nn.Module]] = [
        ((f"{family}.embeddings.word_embeddings",), tables.tokens),
        ((f"{family}.embeddings.position_embeddings",), tables.positions),
        ((f"{family}.embeddings.token_type_embeddings",), tables.segments),
        ((f"{family}.embeddings.LayerNorm",), tables.norm),
    ]
    if encoder.project is not None:
        modules.append((("electra.embeddings_project",), encoder.project))
    for number, layer in enumerate(cast(list[Layer], encoder.layers)):
        at = f"{family}.encoder.layer.{number}"
        modules += [
            (tuple(f"{at}.attention.self.{name}" for name in ("query", "key", "value")), layer.attention.qkv),
            ((f"{at}.attention.output.dense",), layer.attention.out),
            ((f"{at}.attention.output.LayerNorm",), layer.attention_norm),
            ((f"{at}.intermediate.dense",), layer.up),
            ((f"{at}.output.dense",), layer.down),
            ((f"{at}.output.LayerNorm",), layer.norm),
        ]
    return modules


def pairs(model: Model, family: Family) -> Iterator[tuple[tuple[str, ...], nn.Parameter]]:
    """Names in transformers and our parameter; where there are several names, ours is these rows one below another."""
    encoder, head = model
    modules = modules_of(encoder, family)
    if family == "modernbert":
        modules += modernbert.head_modules(head)
        if isinstance(head, MlmHead):
            yield ("decoder.bias",), head.bias
    elif isinstance(head, RtdHead):
        modules.append((("discriminator_predictions.dense",), head.dense))
        modules.append((("discriminator_predictions.dense_prediction",), head.out))
    else:
        at = "generator_predictions" if family == "electra" else "cls.predictions.transform"
        modules += [((f"{at}.dense",), head.dense), ((f"{at}.LayerNorm",), head.norm)]
        yield ("generator_lm_head.bias" if family == "electra" else "cls.predictions.bias",), head.bias
    yield from parameters_of(modules)


def parameters_of(
    modules: Iterable[tuple[tuple[str, ...], nn.Module]],
) -> Iterator[tuple[tuple[str, ...], nn.Parameter]]:
    """Names in transformers of every parameter of named modules."""
    for names, module in modules:
        for ours, parameter in module.named_parameters():
            kind = "weight" if parametrize.is_parametrized(module, "weight") else ours
            yield tuple(f"{name}.{kind}" for name in names), parameter


def split(names: tuple[str, ...], value: Tensor) -> dict[str, Tensor]:
    """A copy of a weight by its names in transformers, float32."""
    pieces = value.detach().float().cpu().chunk(len(names))
    return {name: piece.clone() for name, piece in zip(names, pieces, strict=True)}


def computed(model: Model) -> dict[nn.Parameter, nn.Module]:
    """Modules whose `weight` is computed, by the parameter that is learnt: a token table that stands on another one."""
    tables = cast(Embeddings, model.encoder.embeddings)
    whole = parametrize.is_parametrized(tables.tokens, "weight")
    return {next(tables.tokens.parameters()): tables.tokens} if whole else {}


def exported(model: Model, family: Family) -> dict[str, Tensor]:
    """Copies of our weights by their names in transformers, float32. Tied weights stand there once."""
    out: dict[str, Tensor] = {}
    sums = computed(model)
    for names, parameter in pairs(model, family):
        value = cast(Tensor, sums[parameter].weight) if parameter in sums else parameter
        out |= split(names, value)
    return modernbert.as_labels(out) if family == "modernbert" else out


def fill(model: Model, family: Family, theirs: Mapping[str, Tensor]) -> dict[nn.Parameter, Tensor]:
    """New values of our parameters, from transformers' weights; parameters that these do not hold are left out.

    Of a table that is computed, the value is the whole table's: `put` finds what is to be learnt of it. Theirs may be
    padded beyond the vocabulary: the first rows are taken, as of the output's bias.
    UserError for a part of a parameter, or another shape.
    """
    values: dict[nn.Parameter, Tensor] = {}
    theirs = modernbert.as_logit(theirs) if family == "modernbert" else theirs
    tables = set(model.encoder.tokens.parameters()) | ({model.head.bias} if isinstance(model.head, MlmHead) else set())
    for names, parameter in pairs(model, family):
        there = [name for name in names if name in theirs]
        if not there:
            continue
        if len(there) < len(names):
            raise UserError(
                f"weights: {there[0]} is there, but not {(set(names) - set(there)).pop()}; the folder is damaged"
            )
        value = torch.cat([theirs[name].detach() for name in names])
        value = value[: len(parameter)] if parameter in tables else value
        if value.shape != parameter.shape:
            ours, other = (" x ".join(map(str, shape)) for shape in (parameter.shape, value.shape))
            raise UserError(f"weights: {names[0]} is {other} there and {ours} here; change the recipe's sizes to agree")
        values[parameter] = value
    return values


def put(values: Mapping[nn.Parameter, Tensor], models: Iterable[Model]) -> None:
    """Write new values into the parameters of models."""
    sums = {parameter: module for model in models for parameter, module in computed(model).items()}
    with torch.no_grad():
        for parameter, value in values.items():
            if parameter not in sums:
                parameter.copy_(value)
        for parameter, module in sums.items():  # last: they stand on what was written above
            if parameter in values:
                module.weight = values[parameter].to(parameter.device)


def config_for(model: Model, vocab: Vocab) -> "BertConfig | ElectraConfig | ModernBertConfig":
    """The configuration of a part, as transformers writes it."""
    from transformers import BertConfig

    if isinstance(model.encoder, Modern):
        return modernbert.config_of(model.encoder.config, vocab, model.head)
    if model.family == "bert":
        return BertConfig(**sizes(model.encoder.config, vocab))
    return electra_config(model.encoder.config, vocab)


def electra_config(config: Bert.Config, vocab: Vocab) -> "ElectraConfig":
    """Our encoder's configuration as transformers' ELECTRA has it. (A BERT's encoder is one whose widths are equal.)"""
    from transformers import ElectraConfig

    return ElectraConfig(embedding_size=config.embedding, **sizes(config, vocab))


def sizes(config: Bert.Config, vocab: Vocab) -> dict[str, Any]:
    """What transformers' ELECTRA and BERT configurations have in common."""
    return {
        "vocab_size": vocab.size,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": config.positions,
        "type_vocab_size": config.segments,
        "initializer_range": config.init_scale,
        "layer_norm_eps": config.norm_eps,
        "pad_token_id": vocab.pad,
    }


def class_of(family: Family, head: MlmHead | RtdHead) -> Any:
    """ElectraForPreTraining, ElectraForMaskedLM, BertForMaskedLM, and ModernBERT's token classifier and masked LM."""
    import transformers

    verdict = isinstance(head, RtdHead)
    match family:
        case "electra":
            return transformers.ElectraForPreTraining if verdict else transformers.ElectraForMaskedLM
        case "bert":
            return transformers.BertForMaskedLM
        case "modernbert":
            return transformers.ModernBertForTokenClassification if verdict else transformers.ModernBertForMaskedLM


def as_transformers(model: Model, vocab: Vocab) -> "PreTrainedModel":
    """The part as one of transformers' classes, copied."""
    family = model.family
    theirs: PreTrainedModel = class_of(family, model.head)(config_for(model, vocab))
    weights = exported(model, family)
    wrong = theirs.load_state_dict(weights, strict=False)
    # A tied weight has two names and one parameter: filled by one name, it is not missing.
    filled = {parameter for name, parameter in theirs.named_parameters() if name in weights}
    missing = [name for name, parameter in theirs.named_parameters(remove_duplicate=False) if parameter not in filled]
    if wrong.unexpected_keys or missing:
        raise RuntimeError(f"weights without a place: {wrong.unexpected_keys}; places without weights: {missing}")
    return theirs.eval()
