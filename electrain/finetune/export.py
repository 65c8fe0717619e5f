"""A fine-tuned network as a folder that transformers loads."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors.torch import save_file
from torch import Tensor, nn

import electrain.hub.modernbert as modernbert
from electrain import __version__
from electrain.encoders.base import Encoder
from electrain.encoders.modern import Modern
from electrain.finetune.heads import Classifier, Reader, Regressor, Tagger
from electrain.finetune.model import Tuned
from electrain.finetune.squad.head import SpanHead
from electrain.finetune.squad.saved import PREFIX
from electrain.finetune.task import Head, Task
from electrain.hub.folder import MARK, quiet, whole
from electrain.hub.weights import electra_config, known, modules_of, parameters_of, split
from electrain.tracking import say
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Form(NamedTuple):
    """How a head is written: transformers' class, its name for each of our modules, what the configuration adds."""

    kind: str
    modules: list[tuple[tuple[str, ...], nn.Module]]
    extra: dict[str, Any]


def to_transformers(
    model: Tuned,
    vocab: Vocab,
    tokenizer: "PreTrainedTokenizerFast",
    out: Path,
    task: Task,
    card: str,
) -> bool:
    """Write config.json, model.safetensors (float32), the tokenizer and README.md; returns whether it could.

    A BERT is written as the ELECTRA that computes the same. False, with a line that says so, for an encoder or a head
    that transformers does not know.
    """
    encoder = model.encoder
    if why := unwritable(encoder, model.head):
        say(f"{out}: {why}; only the results are kept")
        return False
    assert known(encoder)  # `unwritable` has said so
    form = form_of(model.head, task, isinstance(encoder, Modern))
    if isinstance(encoder, Modern):
        config = modernbert.config_of(encoder.config, vocab)
    else:
        config = electra_config(encoder.config, vocab)
    config.architectures = [form.kind]
    for name, value in form.extra.items():
        setattr(config, name, value)
    weights: dict[str, Tensor] = {}
    for names, parameter in parameters_of([*modules_of(encoder, "electra"), *form.modules]):
        weights |= split(names, parameter)
    if isinstance(model.head, Regressor):  # so that numbers come out in the user's unit
        (at,), _ = form.modules[-1]  # the last layer
        low, high = task.unit
        weights[f"{at}.weight"] *= high - low
        weights[f"{at}.bias"] = low + (high - low) * weights[f"{at}.bias"]
    tokenizer.model_max_length = encoder.config.positions
    with whole(out) as folder, quiet():
        config.save_pretrained(folder)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        made = {"part": form.kind, "electrain": __version__, "encoder": asdict(encoder.config)}
        (folder / MARK).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return True


def unwritable(encoder: Encoder, head: Head) -> str | None:
    """Why transformers cannot hold a network of these, in words; None where it can."""
    kind = head.reader.kind if isinstance(head, Classifier | Regressor) else None
    if not known(encoder):
        return f"transformers has no such encoder ({type(encoder).__name__})"
    if isinstance(encoder, Modern):
        return "transformers has no linear head over a ModernBERT" if kind == "linear" else None
    return "transformers has no head over an ELECTRA that reads the mean" if kind == "mean" else None


def form_of(head: Head, task: Task, modern: bool) -> Form:
    """How a head over a BERT or a modern encoder is written, where it can be.

    Of sentence tasks ElectraForSequenceClassification or ModernBertForSequenceClassification; with the paper's linear
    head ElectraForTokenClassification, whose logits at [CLS] are the answer. A span head is no class of transformers:
    its weights stand beside an ElectraModel's or a ModernBertModel's, under "qa." and our own names, and
    `electrain.finetune.squad.saved.load` reads them.
    """
    family = "ModernBert" if modern else "Electra"
    named: dict[str, Any] = {
        "id2label": dict(enumerate(task.labels)),
        "label2id": {label: number for number, label in enumerate(task.labels)},
    }
    if isinstance(head, SpanHead):
        return Form(f"{family}Model", [((PREFIX.rstrip("."),), head)], {})
    if isinstance(head, Regressor):
        named = {"num_labels": 1, "problem_type": "regression"}
    if isinstance(head, Classifier | Regressor):
        kind, reader = f"{family}ForSequenceClassification", head.reader
    elif isinstance(head, Tagger):
        kind, reader = f"{family}ForTokenClassification", head
    else:
        raise TypeError(f"no form for {type(head).__name__}")
    if modern:
        assert reader.dense is not None  # `unwritable` has said so
        modules: list[tuple[tuple[str, ...], nn.Module]] = [
            (("head.dense",), reader.dense),
            (("head.norm",), reader.norm),
            (("classifier",), reader.out),
        ]
        pooling = "mean" if isinstance(reader, Reader) and reader.kind == "mean" else "cls"
        return Form(kind, modules, {**named, "classifier_pooling": pooling, "classifier_dropout": reader.dropout})
    if reader.dense is None:
        return Form("ElectraForTokenClassification", [(("classifier",), reader.out)], named)
    return Form(kind, [(("classifier.dense",), reader.dense), (("classifier.out_proj",), reader.out)], named)
