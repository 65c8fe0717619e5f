"""A fine-tuned SQuAD model, read back: weights of an ElectraModel or a ModernBertModel, and the span head's."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.errors import UserError, reason
from electrain.finetune.model import Tuned
from electrain.finetune.squad.head import Answerability, SpanHead
from electrain.hub.load import bert_at, encoder_config_of
from electrain.hub.weights import modules_of, parameters_of
from electrain.vocab import Vocab

PREFIX = "qa."  # of the head's weights; what follows are our own names


def load(folder: str | Path) -> tuple[Tuned, Vocab]:
    """The network that `electrain finetune squad` or `squad2` left in OUT/TASK/seed-N/model, in evaluation mode.

    UserError if the folder holds no such model.
    """
    folder = Path(folder)
    try:
        weights = load_file(folder / "model.safetensors")
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"{folder}: no model can be read there ({reason(error)}); name OUT/TASK/seed-N/model"
        ) from error
    own = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    if not own:
        raise UserError(f"{folder}: holds no span head; fine-tune on squad or squad2")
    # The table of a published model may be padded.
    vocab = replace(vocab_of(load_tokenizer(folder)), size=bert_at(folder).vocab_size)
    encoder = encoder_config_of(folder).build(vocab)
    answerable = any(name.startswith("answerability.") for name in own)
    head = SpanHead(encoder, Answerability(encoder) if answerable else None)
    try:
        head.load_state_dict(own)
        with torch.no_grad():
            for names, parameter in parameters_of(modules_of(encoder, "electra")):
                parameter.copy_(torch.cat([weights[name] for name in names]))
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{folder}: its weights do not fit its configuration ({reason(error)}); copy it again"
        ) from error
    return Tuned(encoder, head).eval(), vocab
