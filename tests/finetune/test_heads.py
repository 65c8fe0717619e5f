"""Heads against transformers' own with the same weights: what they say, and what they lose."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ElectraConfig, ElectraForSequenceClassification, ElectraForTokenClassification

from electrain.encoders.bert import Bert
from electrain.finetune.heads import IGNORE, Classifier, Regressor, Tagger
from electrain.finetune.task import SITE
from electrain.hub.weights import modules_of, parameters_of, split
from electrain.randomness import Stream, drop, keep
from tests.finetune.kit import SIZES, VOCAB, batch


def theirs(kind: type, encoder: Bert, labels: int, head: list[tuple[str, nn.Module]], **more: object) -> nn.Module:
    """A model of transformers with our weights, all of them."""
    c = SIZES
    config = ElectraConfig(
        vocab_size=VOCAB.size, embedding_size=c.embedding, hidden_size=c.hidden, num_hidden_layers=c.layers,
        num_attention_heads=c.heads, intermediate_size=c.ffn, max_position_embeddings=c.positions,
        pad_token_id=VOCAB.pad, layer_norm_eps=c.norm_eps, num_labels=labels, **more,
    )  # fmt: skip
    model = kind(config).eval()
    values: dict[str, Tensor] = {}
    for names, parameter in parameters_of([*modules_of(encoder, "electra"), *(((name,), m) for name, m in head)]):
        values |= split(names, parameter)
    kept = model.load_state_dict(values, strict=False)
    assert not kept.unexpected_keys and all(
        "position_ids" in key or "token_type_ids" in key for key in kept.missing_keys
    )
    return model


def shaken(encoder: Bert, *heads: nn.Module) -> None:
    """Weights far from their small start, so that a difference shows."""
    with torch.no_grad():
        for module in (encoder, *heads):
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)


@pytest.mark.parametrize("labels", [1, 3])
def test_sentence_heads_are_transformers_own(labels: int) -> None:
    encoder = Bert(SIZES, VOCAB).eval()
    head = Regressor(encoder, 0.1) if labels == 1 else Classifier(encoder, labels, 0.1)
    shaken(encoder, head)
    named = [("classifier.dense", head.reader.dense), ("classifier.out_proj", head.reader.out)]
    model = theirs(ElectraForSequenceClassification, encoder, labels, named)  # type: ignore[arg-type]
    text = batch([12, 7, 3, 9])
    target = torch.rand(4, 1) if labels == 1 else torch.tensor([[0], [2], [1], [1]])
    with torch.no_grad():
        expected = model(text.ids, text.real.long(), text.segments, labels=target[:, 0])
        hidden = encoder(text.ids, text.real, text.segments)
        (said,) = head.predict(hidden, text)
        loss = head(hidden, text, target, None)
    torch.testing.assert_close(said, expected.logits, rtol=1e-5, atol=1e-5)
    assert loss.shape == (4,) and said.dtype == torch.float32
    torch.testing.assert_close(loss.mean(), expected.loss, rtol=1e-5, atol=1e-5)


def test_the_tagger_is_transformers_own() -> None:
    """Its mean loss too, with rows of unequal numbers of targets, and with rows that only fill the batch."""
    encoder = Bert(SIZES, VOCAB).eval()
    head = Tagger(encoder, 5, 0.1)
    shaken(encoder, head)
    model = theirs(ElectraForTokenClassification, encoder, 5, [("classifier", head.out)])
    text = batch([12, 7, 3, 9])
    target = torch.randint(0, 5, text.ids.shape).masked_fill(~text.real | (torch.rand(text.ids.shape) < 0.4), IGNORE)
    target[:, 1] = 2
    with torch.no_grad():
        expected = model(text.ids, text.real.long(), text.segments, labels=target)
        hidden = encoder(text.ids, text.real, text.segments)
        (said,) = head.predict(hidden, text)
        loss = head(hidden, text, target, None)
        torch.testing.assert_close(said[text.real], expected.logits[text.real], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loss.mean(), expected.loss, rtol=1e-5, atol=1e-5)
        target[2:] = IGNORE
        filled = head(hidden, text, target, None)
        few = F.cross_entropy(said[:2].flatten(0, 1), target[:2].flatten(), ignore_index=IGNORE)
    torch.testing.assert_close(filled[:2].mean(), few, rtol=1e-5, atol=1e-5)
    assert filled[2:].tolist() == [0, 0]


def test_the_papers_head_and_its_dropout() -> None:
    """One linear layer over what is kept of the vector at [CLS]; the mask is that of the head's site."""
    encoder = Bert(SIZES, VOCAB)
    head = Classifier(encoder, 2, 0.4, "linear")
    assert sum(parameter.numel() for parameter in head.parameters()) == 2 * 24 + 2
    text, hidden = batch([6] * 8), torch.randn(8, 6, 24)
    source = drop(text.key, Stream.DISCRIMINATOR)
    target = torch.randint(0, 2, (8, 1))
    kept = torch.where(keep(source, SITE, (8, 24), 0.4), hidden[:, 0] / 0.6, 0.0)
    expected = F.cross_entropy(head.reader.out(kept), target[:, 0], reduction="none")
    torch.testing.assert_close(head(hidden, text, target, source), expected)


def test_the_mean_is_of_what_is_real() -> None:
    """Worked out row by row; padding counts for nothing, [CLS] and [SEP] count."""
    encoder = Bert(SIZES, VOCAB)
    head = Classifier(encoder, 2, 0.4, "mean")
    shaken(encoder, head)
    text, hidden = batch([12, 7, 3, 9]), torch.randn(4, 12, 24)
    rows = [hidden[row, :length].mean(0) for row, length in enumerate((12, 7, 3, 9))]
    assert head.reader.dense is not None
    expected = head.reader.out(head.reader.norm(F.gelu(head.reader.dense(torch.stack(rows)))))
    torch.testing.assert_close(head.predict(hidden, text)[0], expected)


def test_fresh_weights_start_as_the_encoders() -> None:
    encoder = Bert(SIZES, VOCAB)
    for head in (Classifier(encoder, 3, 0.1), Regressor(encoder, 0.1), Tagger(encoder, 40, 0.1)):
        for name, parameter in head.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any()
            else:
                assert 0 < parameter.abs().max() <= 0.04 and math.isclose(
                    float(parameter.detach().std()), 0.018, rel_tol=0.3
                )
