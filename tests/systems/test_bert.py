"""BERT with 80/10/10 and with 85/0/15: the whole step's loss is that of transformers' BertForMaskedLM."""

import pytest
import torch
from transformers import BertForMaskedLM

from electrain.batch import chosen
from electrain.corruptors.mask import Mask
from electrain.encoders.bert import Bert
from electrain.hub.weights import as_transformers, part_of
from electrain.objectives.mlm import Mlm
from electrain.system import System
from tests.systems.kit import batch, shaken
from tests.training import (
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

NOW = torch.zeros(())
ENCODER = Bert.Config(layers=2, hidden=32, ffn=64, heads=2, embedding=32, positions=16)


@pytest.mark.parametrize(("masked", "random"), [(0.8, 0.1), (0.85, 0.0)])
def test_the_step_is_transformers(masked: float, random: float) -> None:
    torch.manual_seed(1)
    corruptor = Mask.Config(rate=0.4, masked=masked, random=random)
    system = shaken(System.Config(ENCODER, corruptor, Mlm.Config()).build(VOCAB), 0.1).eval()
    theirs = as_transformers(part_of(system, "bert"), VOCAB)
    assert isinstance(theirs, BertForMaskedLM)
    kinds = torch.zeros(3)
    for step in range(20):
        text = batch(step)
        seen = system.corruptor(text, system.encoder, NOW)
        marks = chosen(seen.picked, 16)
        assert torch.equal(seen.ids[~marks], text.ids[~marks])
        mask, same = seen.ids == VOCAB.mask, seen.ids == text.ids
        kinds += torch.stack([(marks & at).sum() for at in (mask, ~mask & ~same, same)])
        labels = torch.where(marks, text.ids, -100)
        out = theirs(seen.ids, text.real.long(), text.segments, labels=labels)
        torch.testing.assert_close(system(text, NOW).loss, out.loss, rtol=1e-5, atol=1e-5)
    shares = (kinds / kinds.sum()).tolist()
    assert kinds.sum() == 20 * 8 * 6  # 14 tokens at 0.4, rounded
    assert shares == pytest.approx([masked, random, 1 - masked - random], abs=0.04)
    assert random or kinds[1] == 0
