"""Logits, losses and gradients against transformers' own classes, fp32, 1e-5, weights copied in both directions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import BertForMaskedLM, ElectraForMaskedLM, ElectraForPreTraining, PreTrainedModel

from electrain.batch import Batch, chosen, select
from electrain.corruptors.base import Corrupted
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.corruptors.masking import mask
from electrain.encoders.bert import Bert
from electrain.encoders.head import RtdHead
from electrain.hub.weights import as_transformers, fill, pairs, part_of
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.system import System
from electrain.systems.networks import Part
from electrain.vocab import Vocab

VOCAB = Vocab(size=503, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
TINY = Bert.Config(layers=2, hidden=32, ffn=48, heads=4, embedding=16, positions=64)
SMALL = Bert.Config(layers=2)  # ELECTRA-Small but for the depth
BASE = Bert.Config(layers=1, hidden=128, ffn=512, heads=2, embedding=128)  # Base-like: E = H, heads of 64
OTHER = replace(TINY, embedding=32, norm_eps=1e-5, segments=3)
CONFIGS = {"tiny": TINY, "small": SMALL, "base-like": BASE, "other epsilon": OTHER}
ALWAYS = {"rtol": 1e-5, "atol": 1e-5}


def batch(rows: int, length: int) -> Batch:
    """Rows of unequal length: the first full, the others padded; two segments; [CLS] first, [SEP] last."""
    ids = torch.randint(5, VOCAB.size, (rows, length))
    ends = torch.linspace(length, max(4, length // 3), rows).long()
    place = torch.arange(length)[None]
    real = place < ends[:, None]
    segments = ((place >= ends[:, None] // 2) & real).long()
    ids[:, 0] = VOCAB.cls
    ids[torch.arange(rows), ends - 1] = VOCAB.sep
    ids = torch.where(real, ids, VOCAB.pad)
    maskable = real & ~torch.isin(ids, torch.tensor(VOCAB.special))
    return Batch(ids, segments, real, maskable, row_keys(1, 2, torch.arange(rows)))


def shake(module: nn.Module) -> None:
    """Weights far from their start: biases that matter, LayerNorms that are not the identity."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.7 * parameter.shape[1] ** -0.5)
            else:
                parameter.normal_(float(name.endswith("norm.weight") or name.endswith("LayerNorm.weight")), 0.2)


def system(config: Bert.Config, part: Part) -> System:
    objective = Mlm.Config() if part == "bert" else Rtd.Config()
    corruptor = Mask.Config() if part == "bert" else Joint.Config(width=0.5)
    made = System(System.Config(config, corruptor, objective), VOCAB).eval()
    shake(made)
    return made


def ours(made: System, part: Part, data: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Logits of every place, the loss as training computes it, and what transformers is to be fed."""
    picked = select(data, 0.15)
    masked = mask(data, picked, VOCAB, masked=0.8, random=0.1)
    feed = {"attention_mask": data.real.long(), "token_type_ids": data.segments}
    model = part_of(made, part)
    if isinstance(model.head, RtdHead):
        replaced = (masked != data.ids) & data.real
        hidden = made.encoder(masked, data.real, data.segments)
        seen = Corrupted(masked, picked, replaced, None, torch.zeros(()), {})
        loss = made.objective(hidden, seen, data, made.encoder).loss
        return model.head(hidden), loss, {**feed, "input_ids": masked, "labels": replaced.long()}
    labels = torch.where(chosen(picked, data.ids.shape[1]), data.ids, -100)
    hidden = model.encoder(masked, data.real, data.segments)
    if part == "generator":
        loss = made.corruptor.generator(masked, data, picked, made.encoder, dropout=False).loss
    else:
        seen = Corrupted(masked, picked, masked != data.ids, None, torch.zeros(()), {})
        loss = made.objective(hidden, seen, data, made.encoder).loss
    return model.head(hidden, model.encoder.tokens.weight), loss, {**feed, "input_ids": masked, "labels": labels}


def agree(made: System, part: Part, theirs: PreTrainedModel, data: Batch) -> None:
    """Logits at real places, loss, and the gradient of every parameter."""
    made.zero_grad()
    theirs.zero_grad()
    logits, loss, feed = ours(made, part, data)
    out = theirs(**feed)
    torch.testing.assert_close(logits[data.real], out.logits[data.real], **ALWAYS)
    torch.testing.assert_close(loss, out.loss, **ALWAYS)
    loss.backward()
    out.loss.backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    seen = set()
    for names, parameter in pairs(part_of(made, part), theirs.config.model_type):
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-6, names
        other = torch.cat([grads[name] for name in names])
        torch.testing.assert_close(parameter.grad, other, **ALWAYS, msg=lambda text, names=names: f"{names}: {text}")
        seen.update(names)
    assert seen == set(grads), "every parameter of theirs was compared"


CASES = [(name, part) for name in CONFIGS for part in ("discriminator", "generator", "bert")]


@pytest.mark.parametrize(("name", "part"), CASES, ids=[f"{name}-{part}" for name, part in CASES])
def test_ours_to_transformers(name: str, part: Part) -> None:
    made = system(CONFIGS[name], part)
    theirs = as_transformers(part_of(made, part), VOCAB)
    equal = CONFIGS[name].embedding == CONFIGS[name].hidden
    masked_lm = BertForMaskedLM if equal and part == "bert" else ElectraForMaskedLM
    if part == "generator" and CONFIGS[name].embedding == CONFIGS[name].hidden // 2:
        masked_lm = BertForMaskedLM  # half the width of TINY is its embedding: nothing is projected
    assert type(theirs) is (ElectraForPreTraining if part == "discriminator" else masked_lm)
    agree(made, part, theirs, batch(3, 37))
    if name == "tiny":  # the longest that it takes
        agree(made, part, theirs, batch(2, TINY.positions))


@pytest.mark.parametrize(("name", "part"), CASES, ids=[f"{name}-{part}" for name, part in CASES])
def test_transformers_to_ours(name: str, part: Part) -> None:
    """Their random weights into ours, their configuration made by them."""
    made = system(CONFIGS[name], part)
    model = part_of(made, part)
    theirs = as_transformers(model, VOCAB)
    theirs = type(theirs)(theirs.config).eval()
    shake(theirs)
    with torch.no_grad():
        values = fill(model, theirs.config.model_type, theirs.state_dict())
        assert set(values) == {*model.encoder.parameters(), *model.head.parameters()}
        for parameter, value in values.items():
            parameter.copy_(value)
    agree(made, part, theirs, batch(3, 29))


def test_the_whole_step() -> None:
    """Generator + 50 discriminator, shared embeddings: loss and gradients that transformers' two classes add up to."""
    config = System.Config(SMALL, Joint.Config(), Rtd.Config(), weight=50.0)
    made = System(config, VOCAB).eval()
    shake(made)
    data = batch(4, 33)
    out = made(data, torch.zeros(()))
    out.loss.backward()
    seen = made.corruptor(data, made.encoder, torch.zeros(()))
    masked = mask(data, seen.picked, VOCAB, masked=0.85, random=0.0)
    feed = {"attention_mask": data.real.long(), "token_type_ids": data.segments}
    generator = as_transformers(part_of(made, "generator"), VOCAB)
    discriminator = as_transformers(part_of(made, "discriminator"), VOCAB)
    labels = torch.where(chosen(seen.picked, 33), data.ids, -100)
    loss = generator(input_ids=masked, labels=labels, **feed).loss
    loss = loss + 50 * discriminator(input_ids=seen.ids, labels=(seen.ids != data.ids).long(), **feed).loss
    loss.backward()
    torch.testing.assert_close(out.loss, loss, rtol=1e-5, atol=1e-5)
    grads: dict[nn.Parameter, Tensor] = {}
    for part, theirs in (("generator", generator), ("discriminator", discriminator)):
        named = dict(theirs.named_parameters())
        for names, parameter in pairs(part_of(made, part), "electra"):
            grads[parameter] = grads.get(parameter, 0) + torch.cat([named[name].grad for name in names])
    assert set(grads) == set(made.parameters())
    for parameter, expected in grads.items():
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-4)  # of a loss 50 times as large
