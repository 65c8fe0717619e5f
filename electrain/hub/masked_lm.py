"""A trained masked language model to be frozen: the generator or BERT of a run of ours, or any of transformers."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from electrain import checkpoint
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert
from electrain.encoders.head import MlmHead
from electrain.encoders.masked_lm import EncoderLm
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.hub import foreign
from electrain.hub.load import encoder_config_of, has_tokenizer, same_tokens, values_of
from electrain.hub.reading import config_at
from electrain.hub.weights import Model
from electrain.run import Record
from electrain.source import MaskedLm
from electrain.systems.networks import masked_lm_of
from electrain.tracking import say
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def load(place: str, tokenizer: Path) -> MaskedLm:
    """The network at `place`, in evaluation mode, without gradients. UserError as in `Source.masked_lm`."""
    folder = Path(place).expanduser()
    network = _of_run(folder, tokenizer) if (folder / "run.json").is_file() else _of_transformers(place, tokenizer)
    return network.eval().requires_grad_(False)


def _of_run(folder: Path, tokenizer: Path) -> MaskedLm:
    record = Record.load(folder)
    same_vocabulary(str(folder / "tokenizer"), tokenizer)
    newest = checkpoint.latest(folder, say)
    if newest is None:
        raise UserError(f"{folder}: has no whole checkpoint; go on with that run until it has saved one")
    vocab = vocab_of(load_tokenizer(folder / "tokenizer"))
    system = record.run.system.build(vocab)
    checkpoint.load_weights(system, newest)
    found = masked_lm_of(system, "generator", "bert")
    if found is None:
        raise UserError(f"{folder}: trained no masked language model; name a BERT, or an ELECTRA with a generator")
    return _copy(*found, vocab)


def _of_transformers(place: str, tokenizer: Path) -> MaskedLm:
    theirs = config_at(place)
    same_vocabulary(place, tokenizer)
    vocab = vocab_of(load_tokenizer(tokenizer))
    sizes = _our_sizes(place, theirs, vocab)
    if sizes is None:
        return foreign.load(place, vocab)
    network = EncoderLm.Config(sizes).build(vocab)
    assert isinstance(network.encoder, Bert | Modern)
    values = values_of(Model(network.encoder, network.head), "generator", place)
    if missing := [name for name, parameter in network.named_parameters() if parameter not in values]:
        raise UserError(f"{place}: lacks weights of a masked language model ({missing[0]}, {len(missing)} in all)")
    with torch.no_grad():
        for parameter, value in values.items():
            parameter.copy_(value)
    return network


def _our_sizes(place: str, theirs: "PreTrainedConfig", vocab: Vocab) -> Encoder.Config | None:
    """Of an ELECTRA, BERT or ModernBERT that our encoders compute; None for what only transformers does."""
    if (
        theirs.model_type not in ("electra", "bert", "modernbert")
        or not theirs.tie_word_embeddings
        or theirs.vocab_size < vocab.size
    ):
        return None
    try:
        return encoder_config_of(place)
    except UserError:
        return None


def same_vocabulary(place: str, tokenizer: Path) -> None:
    """UserError, with the first token that differs, if a place has another tokenizer than the data, or none."""
    none = f"{place}: has no tokenizer to compare with the data's; save it there"
    if not has_tokenizer(place):
        raise UserError(none)
    try:
        theirs = load_tokenizer(place)
    except UserError as error:
        raise UserError(none) from error
    one, ours = (
        {number: token for token, number in t.get_vocab().items()} for t in (theirs, load_tokenizer(tokenizer))
    )
    for number in sorted(one.keys() | ours.keys()):
        if one.get(number) != ours.get(number):
            raise UserError(
                f"{place}: another vocabulary: token {number} is {one.get(number)!r} there and {ours.get(number)!r} in "
                f"the data; choose another generator, or prepare the data with --tokenizer {place}"
            )
    same_tokens(place, tokenizer)


def _copy(encoder: Encoder, head: MlmHead, vocab: Vocab) -> EncoderLm:
    """The network by itself: where embeddings were shared, it gets its own copy."""
    network = EncoderLm.Config(encoder.config).build(vocab)
    network.encoder.load_state_dict(encoder.state_dict())
    network.head.load_state_dict(head.state_dict())
    return network
