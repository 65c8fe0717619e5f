"""In: weights and sizes from a transformers ELECTRA, BERT or ModernBERT, a local folder or a name on the Hub."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

import electrain.hub.modernbert as modernbert
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.data.untrusted import LARGEST
from electrain.encoders.base import CHOICES, Encoder
from electrain.encoders.bert import Bert
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.hub.reading import config_at, network_at
from electrain.hub.weights import Family, Model, class_of, fill, parts, put
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.system import System
from electrain.systems.base import Pretraining
from electrain.systems.networks import networks
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

_SIZES = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "embedding_size"),
    *("max_position_embeddings", "type_vocab_size", "vocab_size"),
)
_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model")
# Texts on which tokenizers differ that have the same tokens: case, accents, spaces, joined words, other scripts.
_PROBE = "Élan vital: don't PANIC,  it's naïve_test 1,234.5 ‘so’ 東京 Straße\tab"


def encoder_config_of(name: str | Path) -> Bert.Config | Modern.Config:
    """Sizes of a transformers ELECTRA, BERT or ModernBERT, as our encoder's configuration.

    UserError if it cannot be read, or computes something that our encoder does not.
    """
    return _encoder_config(bert_at(name), name)


def generator_scale_of(
    encoder: Bert.Config | Modern.Config, generator: Bert.Config | Modern.Config
) -> tuple[float, float]:
    """Width and depth of a generator as shares of its encoder's: the two fields of the joint corruptor.

    UserError if no two numbers make the one from the other.
    """
    width, depth = generator.hidden / encoder.hidden, generator.layers / encoder.layers
    if wrong := _differing(encoder.scaled(width, depth), generator):
        raise UserError(f"generator: is not the encoder scaled by width {width:.3g} and depth {depth:.3g} ({wrong})")
    return width, depth


def load_into(
    system: Pretraining,
    encoder: str | Path | None = None,
    generator: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> str:
    """Fill a system with published weights; returns a line that says what was filled and what starts fresh.

    encoder:    folder or Hub name for the encoder and its head: an ELECTRA discriminator, or a BERT
    generator:  the same for the generator. Without it the generator keeps its fresh layers; embeddings that it shares
                with the encoder are the encoder's
    tokenizer:  the data's; compared with those of the folders, where they hold one

    Only safetensors are read, no code from outside runs. UserError, with the system as it was, if sizes or vocabularies
    differ, or a weight that two parts share is not the same in both folders.
    """
    found = parts(system)
    asked = (
        ("encoder", encoder, found.get("discriminator") or found.get("bert")),
        ("generator", generator, found.get("generator")),
    )
    values: dict[nn.Parameter, Tensor] = {}
    for role, name, model in asked:
        if name is None:
            continue
        if model is None:
            raise UserError(f"{name}: the system has no {role} that it could fill")
        if tokenizer is not None:
            same_tokens(name, tokenizer)
        for parameter, value in values_of(model, role, name).items():
            if parameter in values and not torch.equal(values[parameter], value):
                raise UserError(
                    f"{generator}: has other weights than {encoder} where generator and encoder share theirs; "
                    "give the corruptor tying none, or leave the generator out"
                )
            values[parameter] = value
    put(values, found.values())
    return _said(system, encoder, generator, set(values))


@dataclass(frozen=True)
class Loaded:
    """A system with published weights, its configuration and vocabulary, and a line about what was filled."""

    system: System
    config: System.Config
    vocab: Vocab
    said: str


def from_transformers(encoder: str | Path, generator: str | Path | None = None) -> Loaded:
    """A system of the sizes that a folder (or Hub name) has, filled with its weights.

    An ELECTRA becomes joint + rtd, with a generator of the published sizes, or of a third of the width where none is
    given (the default of ELECTRA-Base), and so does a ModernBERT with a generator; a BERT or a ModernBERT becomes mask
    + mlm, or where it holds a head of ours that gives verdicts, joint + rtd. UserError as in `load_into`.
    """
    theirs = bert_at(encoder)
    sizes = _encoder_config(theirs, encoder)
    masked = theirs.model_type == "bert" or (theirs.model_type == "modernbert" and not _verdicts(theirs))
    if masked and generator is None:
        config = System.Config(sizes, Mask.Config(), Mlm.Config())
    else:
        share = _fitting(sizes) if generator is None else generator_scale_of(sizes, encoder_config_of(generator))
        config = System.Config(sizes, Joint.Config(width=share[0], depth=share[1]), Rtd.Config(), weight=50.0)
    vocab = vocab_of(load_tokenizer(encoder))
    system = config.build(vocab)
    said = load_into(system, encoder, generator)
    return Loaded(system, config, vocab, said)


def _verdicts(theirs: "PreTrainedConfig") -> bool:
    """Whether a ModernBERT is a token classifier of ours."""
    return tuple((theirs.id2label or {}).values()) == modernbert.LABELS


def _fitting(sizes: Bert.Config | Modern.Config) -> tuple[float, float]:
    """A generator's width: a third where heads and hidden allow it, else a quarter, else a half (ELECTRA, table 6)."""
    for parts_of_it in (3, 4, 2):
        if sizes.heads % parts_of_it == 0 and sizes.hidden % parts_of_it == 0:
            return 1 / parts_of_it, 1.0
    return 1.0, 1.0


def bert_at(name: str | Path) -> "PreTrainedConfig":
    """Transformers' configuration of an ELECTRA, a BERT or a ModernBERT. UserError if there is none of these."""
    config = config_at(name)
    if config.model_type not in ("electra", "bert", "modernbert"):
        raise UserError(f"{name}: is a {config.model_type}; only ELECTRA, BERT and ModernBERT can be loaded")
    return config


def _encoder_config(theirs: "PreTrainedConfig", name: str | Path) -> Bert.Config | Modern.Config:
    expected = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
    for key, value in {**expected, "add_cross_attention": False}.items():
        if (other := getattr(theirs, key, value)) != value:
            raise UserError(f"{name}: {key} is {other}, and only {value} can be loaded; choose another model")
    for key in _SIZES:
        if (number := getattr(theirs, key, 1)) is not None and not (type(number) is int and 0 < number <= LARGEST):
            raise UserError(f"{name}: {key} is {str(number)[:40]}, which no model has; the folder is damaged")
    if theirs.model_type == "modernbert":
        return modernbert.sizes_of(theirs, name)
    return Bert.Config(
        layers=theirs.num_hidden_layers,
        hidden=theirs.hidden_size,
        ffn=theirs.intermediate_size,
        heads=theirs.num_attention_heads,
        embedding=getattr(theirs, "embedding_size", theirs.hidden_size),
        positions=theirs.max_position_embeddings,
        segments=theirs.type_vocab_size,
        dropout=float(theirs.hidden_dropout_prob),
        attention_dropout=float(theirs.attention_probs_dropout_prob),
        norm_eps=theirs.layer_norm_eps,
        init_scale=theirs.initializer_range,
    )


def values_of(model: Model, role: str, name: str | Path) -> dict[nn.Parameter, Tensor]:
    """New values of a part's parameters. The encoder must be whole there; the head may be missing, and stays fresh."""
    config = bert_at(name)
    if wrong := _differing(_encoder_config(config, name), model.encoder.config):
        raise UserError(f"{name}: the {role} has other sizes there than in the recipe ({wrong}); change the recipe's")
    rows, there = model.encoder.tokens.num_embeddings, config.vocab_size
    # A table may be padded beyond its own tokenizer. One that is longer for any other reason is of other words.
    if there < rows or (there > rows and not (has_tokenizer(name) and vocab_of(load_tokenizer(name)).size == rows)):
        raise UserError(f"{name}: vocabulary of {there} tokens, the data's has {rows}; prepare with its tokenizer")
    theirs = _weights(name, config, model.head)
    values = fill(model, cast(Family, config.model_type), theirs)
    missing = [key for key, parameter in model.encoder.named_parameters() if parameter not in values]
    if missing:
        raise UserError(f"{name}: lacks weights of the encoder ({missing[0]}, {len(missing)} in all); it is damaged")
    return values


def _weights(name: str | Path, config: "PreTrainedConfig", head: MlmHead | RtdHead) -> dict[str, Tensor]:
    """Weights that are really there, by transformers' names, float32."""
    model, missing = network_at(name, class_of(cast(Family, config.model_type), head), "weights")
    if isinstance(head, MlmHead) and not config.tie_word_embeddings:
        raise UserError(f"{name}: its output table is not its input table, and ours is; choose a model with tied ones")
    # A ModernBERT's heads have the same names, whatever they are for: another kind of head is none.
    other = config.model_type == "modernbert" and isinstance(head, RtdHead) != _verdicts(config)
    return {
        key: value
        for key, value in model.state_dict().items()
        if key not in missing and not (other and not key.startswith("model."))
    }


def _differing(theirs: Encoder.Config, ours: Encoder.Config) -> str:
    if type(theirs) is not type(ours):
        return "another kind of encoder"
    if isinstance(theirs, Modern.Config) and isinstance(ours, Modern.Config):
        theirs, ours = modernbert.canonical(theirs), modernbert.canonical(ours)
    pairs = [(f.name, getattr(theirs, f.name), getattr(ours, f.name)) for f in fields(ours) if f.name not in CHOICES]
    return ", ".join(f"{name} {a}, not {b}" for name, a, b in pairs if a != b)


def same_tokens(name: str | Path, tokenizer: str | Path) -> None:
    """UserError if a folder's tokenizer makes other ids than the run's. A folder without one is not compared."""
    if not has_tokenizer(name):
        return
    theirs, ours = load_tokenizer(name), load_tokenizer(tokenizer)
    same = theirs.get_vocab() == ours.get_vocab() and vocab_of(theirs) == vocab_of(ours)
    if not same or _cut(theirs) != _cut(ours):
        raise UserError(
            f"{name}: another vocabulary ({len(theirs)} tokens, the data's {len(ours)}) or other rules for cutting text"
            f"; prepare the data with --tokenizer {name}"
        )


def has_tokenizer(name: str | Path) -> bool:
    """Whether a tokenizer can be looked for: where a folder has none, transformers would make up an empty one."""
    folder = Path(name).expanduser()
    return not folder.is_dir() or any(any(folder.glob(pattern)) for pattern in _TOKENIZERS)


def _cut(tokenizer: "PreTrainedTokenizerFast") -> tuple[list[int], list[str]]:
    """What a tokenizer makes of the probe: ids, and the words before they are looked up."""
    core = tokenizer.backend_tokenizer
    text = core.normalizer.normalize_str(_PROBE) if core.normalizer is not None else _PROBE
    words = core.pre_tokenizer.pre_tokenize_str(text) if core.pre_tokenizer is not None else [(text, (0, 0))]
    return tokenizer(_PROBE)["input_ids"], [word for word, _ in words]


def _said(
    system: Pretraining, encoder: str | Path | None, generator: str | Path | None, filled: set[nn.Parameter]
) -> str:
    """The modules of a system by how many of their weights were filled."""
    named = {"encoder": system.encoder, "its head": getattr(getattr(system, "objective", None), "head", None)}
    if made := networks(system).get("generator"):
        named |= {"generator": made.encoder if made.encoder is not system.encoder else None, "its MLM head": made.head}
    fresh = []
    for name, module in named.items():
        if module is not None and (left := [p for p in module.parameters() if p not in filled]):
            rest = " but for the shared embeddings" if len(left) < len(list(module.parameters())) else ""
            fresh.append(name + rest)
    sources = [
        f"{role} from {name}" for role, name in (("encoder", encoder), ("generator", generator)) if name is not None
    ]
    return f"{', '.join(sources) or 'nothing'} loaded; fresh: {', '.join(fresh) or 'nothing'}"
