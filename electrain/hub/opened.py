"""A pre-trained encoder with whatever heads came with it: from a run of ours, or from a transformers folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from electrain import checkpoint as checkpoints
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.hub.export import checkpoint_of
from electrain.hub.load import bert_at, encoder_config_of, values_of
from electrain.hub.weights import Model, put
from electrain.objectives.electric import Electric
from electrain.run import Record
from electrain.systems.base import Pretraining
from electrain.systems.networks import masked_lm_of, networks
from electrain.tracking import say
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

RATE = 0.15  # share of the tokens that is selected where nothing says otherwise


class Lm(NamedTuple):
    """A masked language model: its own encoder (a generator's, or the BERT itself) and the head tied to its tokens."""

    encoder: Encoder
    head: MlmHead


class Opened(NamedTuple):
    """A pre-trained encoder in evaluation mode, float32, on the CPU.

    name       what the user called it
    rtd        the replaced-token head, where one was trained
    lm         the masked language model that came with it: a BERT itself, a run's generator
    rate       share of the tokens that the generator replaced in pre-training (0.15 where nothing says)
    energy     the head of an Electric run, whose output is an energy and no logit
    step       of the run's checkpoint
    """

    name: str
    encoder: Encoder
    vocab: Vocab
    tokenizer: "PreTrainedTokenizerFast"
    rtd: RtdHead | None = None
    lm: Lm | None = None
    rate: float = RATE
    energy: RtdHead | None = None
    step: int | None = None


def opened(
    place: str | Path, checkpoint: str | int = "latest", *, fresh: bool = False, warn: Callable[[str], None] = say
) -> Opened:
    """The network of a run's folder, or of a folder or Hub name that transformers loads as ELECTRA, BERT or ModernBERT.

    checkpoint: of a run: "latest", "best", or a step
    fresh:      the same architecture with fresh weights instead (from torch's generator), without heads: what
                fine-tuning alone can do

    UserError if there is none, it is damaged, or it has no tokenizer.
    """
    path = Path(place).expanduser()
    made = _run(path, checkpoint, warn) if (path / "run.json").is_file() else _folder(place)
    if fresh:
        made = Opened(made.name, made.encoder.config.build(made.vocab), made.vocab, made.tokenizer)
    for module in (made.encoder, made.rtd, made.energy, *(made.lm or ())):
        if module is not None:
            module.eval()
    return made


def _run(path: Path, checkpoint: str | int, warn: Callable[[str], None]) -> Opened:
    record = Record.load(path)
    tokenizer = load_tokenizer(path / "tokenizer")
    vocab = vocab_of(tokenizer)
    system = record.run.system.build(vocab)
    weights = checkpoint_of(path, checkpoint, warn)
    checkpoints.load_weights(system, weights)
    found = networks(system)
    verdict = found["discriminator"].head if "discriminator" in found else None
    # Electric's head has the same form, but what it says is no logit of "replaced".
    electric = isinstance(getattr(system, "objective", None), Electric)
    rate = getattr(getattr(getattr(system, "corruptor", None), "config", None), "rate", RATE)
    return Opened(
        str(path),
        system.encoder,
        vocab,
        tokenizer,
        rtd=verdict if isinstance(verdict, RtdHead) and not electric else None,
        lm=_lm(system),
        rate=rate if isinstance(rate, float) else RATE,
        energy=verdict if isinstance(verdict, RtdHead) and electric else None,
        step=checkpoints.step_of(weights),
    )


def _lm(system: Pretraining) -> Lm | None:
    """The masked language model of a system: a BERT itself, the generator, or the frozen one if it is of our kind."""
    if (trained := masked_lm_of(system, "bert", "generator")) is not None:
        return Lm(*trained)
    frozen = getattr(getattr(system, "corruptor", None), "generator", None)
    return Lm(frozen.encoder, frozen.head) if isinstance(frozen, EncoderLm) else None


def _folder(place: str | Path) -> Opened:
    theirs = bert_at(place)
    tokenizer = load_tokenizer(place)
    # Where there is no tokenizer, transformers makes one up of the special tokens.
    if not set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids):
        raise UserError(f"{place}: has no tokenizer; put the tokenizer there that the model was trained with")
    vocab = vocab_of(tokenizer)
    # A table may be padded; one that is too small belongs to another tokenizer.
    if theirs.vocab_size < vocab.size:
        raise UserError(
            f"{place}: its tokenizer makes {vocab.size} tokens, its table has {theirs.vocab_size} rows; "
            "put the tokenizer there that it was trained with"
        )
    vocab = replace(vocab, size=theirs.vocab_size)
    encoder = encoder_config_of(place).build(vocab)
    heads: tuple[RtdHead | MlmHead, ...] = (MlmHead(encoder),)
    if theirs.model_type in ("electra", "modernbert"):
        heads = (RtdHead(encoder), *heads)
    # A folder holds one kind of head, or none (a fine-tuned model).
    for head in heads:
        model = Model(encoder, head)
        values = values_of(model, "encoder", place)
        put(values, [model])
        if all(parameter in values for parameter in head.parameters()):
            break
    else:
        return Opened(str(place), encoder, vocab, tokenizer)
    if isinstance(head, RtdHead):
        return Opened(str(place), encoder, vocab, tokenizer, rtd=head)
    return Opened(str(place), encoder, vocab, tokenizer, lm=Lm(encoder, head))
