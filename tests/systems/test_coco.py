"""COCO-LM: the crop and both losses against independent computations, and what the contrast does to [CLS]."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from electrain import train
from electrain.batch import Batch, chosen
from electrain.errors import UserError
from electrain.metrics import read
from electrain.objectives.corrective import Corrective
from electrain.randomness import row_keys
from electrain.recipes.coco_lm import coco_lm
from electrain.recipes.sizes import TINY
from electrain.system import System
from electrain.systems.coco import Coco
from electrain.systems.contrast import crop, crop_length, info_nce
from electrain.train import pretrain
from tests.systems.cases.coco import CASES, JOINT
from tests.systems.kit import Case, World, batch, build, run_of
from tests.training import (
    ENCODER,
    VOCAB,
    make_data,
    one_thread,  # noqa: F401 - a fixture
)

pytestmark = pytest.mark.usefixtures("unchecked")

NOW = torch.zeros(())
COCO = CASES["coco"].config


def ragged(lengths: list[int], width: int, step: int = 0) -> Batch:
    """[CLS] 10 11 12 ... [SEP], padded, the second half of every row in segment 1."""
    place = torch.arange(width)
    ends = torch.tensor(lengths)[:, None]
    real = place < ends
    ids = torch.where(real, 9 + place, VOCAB.pad)
    ids[:, 0] = VOCAB.cls
    ids = ids.scatter(1, ends - 1, VOCAB.sep)
    segments = ((place > ends // 2) & real).long()
    maskable = real & (ids >= 9)
    return Batch(ids, segments, real, maskable, row_keys(5, step, torch.arange(len(lengths))))


@pytest.mark.parametrize("keep", [0.9, 0.5, 0.1, 1.0])
def test_the_crop_is_a_share_of_the_text_that_begins_anywhere(keep: float) -> None:
    lengths = [2, 3, 4, 12, 13, 22, 32] * 60
    starts: dict[int, set[int]] = {length: set() for length in lengths}
    for step in range(5):
        text = ragged(lengths, 32, step)
        view = crop(text, keep, VOCAB)
        assert view.ids.shape == (len(lengths), crop_length(32, keep)) == (len(lengths), 2 + math.floor(30 * keep))
        for row, length in enumerate(lengths):
            inner = math.floor(round((length - 2) * keep, 6))
            got = view.ids[row].tolist()
            assert view.real[row].tolist() == [place < inner + 2 for place in range(len(got))]
            assert got[0] == VOCAB.cls and got[inner + 1] == VOCAB.sep
            assert set(got[inner + 2 :]) <= {VOCAB.pad}
            if inner:
                first = got[1]
                assert got[1 : inner + 1] == list(range(first, first + inner)), "contiguous"
                starts[length].add(first - 10)
                where = [0, *range(first - 9, first - 9 + inner), length - 1]
                assert view.segments[row, : inner + 2].tolist() == text.segments[row, where].tolist()
    for length, seen in starts.items():
        inner = math.floor(round((length - 2) * keep, 6))
        assert seen == (set(range(length - 2 - inner + 1)) if inner else set()), "every beginning, none beyond"


def test_info_nce_by_hand() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 6, 5))
    group, temperature = 3, 0.3
    losses, right = [], []
    for first in (0, 3):
        texts = [(row, view) for view in (one, other) for row in range(first, first + group)]
        unit = [view[row] / np.linalg.norm(view[row]) for row, view in texts]
        for i, (row, _) in enumerate(texts):
            near = {j: math.exp(unit[i] @ unit[j] / temperature) for j in range(len(texts)) if j != i}
            same = next(j for j in near if texts[j][0] == row)
            losses.append(-math.log(near[same] / sum(near.values())))
            right.append(max(near, key=near.__getitem__) == same)
    loss, metrics = info_nce(torch.tensor(one).float(), torch.tensor(other).float(), temperature, group)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    found = read(metrics)
    assert found["contrast_loss"] == pytest.approx(loss.item())
    assert found["contrast_accuracy"] == pytest.approx(np.mean(right))
    norms = [np.linalg.norm(view, axis=1) for view in (one, other)]
    assert found["cosine_same"] == pytest.approx(((one * other).sum(1) / norms[0] / norms[1]).mean(), rel=1e-5)


def test_rows_are_contrasted_within_their_group_alone() -> None:
    one, other = torch.randn(2, 8, 5)
    halves = [info_nce(one[part], other[part], 0.5, 4)[0] for part in (slice(0, 4), slice(4, 8))]
    assert info_nce(one, other, 0.5, 4)[0].item() == pytest.approx(torch.stack(halves).mean().item(), rel=1e-6)
    assert abs(info_nce(one, other, 0.5, 8)[0] - torch.stack(halves).mean()) > 0.1
    with pytest.raises(UserError, match=r"8 rows .* no multiple of the group of 3; .*--system.group"):
        info_nce(one, other, 0.5, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"group": 1}, "at least 2"), ({"keep": 0.0}, "above 0 and at most 1"), ({"temperature": 0.0}, "above 0")],
)
def test_settings_that_make_no_sense(fields: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(COCO, **fields)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="above 0"):
        Corrective.Config(copy=0.0)


@pytest.mark.parametrize("places", ["selected", "all"])
def test_corrective_loss_and_its_stopped_gradients_by_hand(places: str) -> None:
    """In probabilities instead of logarithms; the gate's gradient comes from its own loss alone."""
    config = Corrective.Config(copy=7.0, places=places)  # type: ignore[arg-type]
    system = build(Case(System.Config(ENCODER, JOINT, config)))
    assert isinstance(system, System) and isinstance(system.objective, Corrective)
    text, objective = batch(), system.objective
    text = text._replace(real=text.real & (torch.arange(16) < 14), maskable=text.maskable & (torch.arange(16) < 14))
    seen = system.corruptor(text, system.encoder, NOW)
    hidden = torch.randn(8, 16, 32, requires_grad=True)
    scored = objective(hidden, seen, text, system.encoder)
    scored.loss.backward()
    found = {"hidden": hidden.grad, "gate": objective.gate.weight.grad}

    again = hidden.detach().clone().requires_grad_()
    gate = objective.gate.weight.detach().clone().requires_grad_()
    c = torch.sigmoid(again @ gate[0] + objective.gate.bias.detach())
    shown_is_true = (seen.ids == text.ids).double()
    binary = -(shown_is_true * c.log() + (1 - shown_is_true) * (1 - c).log())[text.real].mean()
    q = objective.head(again, system.encoder.tokens.weight).softmax(-1).gather(2, text.ids[..., None])[..., 0]
    p = c.detach() * shown_is_true + (1 - c.detach()) * q
    where = text.real if places == "all" else chosen(seen.picked, 16)
    assert 0 < where.sum() < text.ids.numel() and (seen.replaced & where).any() and not seen.replaced[~where].any()
    expected = 7.0 * binary - p.log()[where].mean()  # no gradient of the second part reaches the gate
    expected.backward()
    assert scored.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(found["hidden"], again.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found["gate"], gate.grad, rtol=1e-3, atol=1e-6)


def test_the_three_losses_add_up_and_the_original_is_what_is_cropped() -> None:
    text = batch()
    parts = {}
    for contrast in (0.0, 1.0, 3.0):
        system = build(Case(replace(COCO, contrast=contrast))).eval()
        assert isinstance(system, Coco)
        output = system(text, NOW)
        numbers = read(output.metrics)
        parts[contrast] = output.loss.item()
        expected = numbers["mlm_loss"] + 50 * numbers["copy_loss"] + numbers["clm_loss"]
        assert output.loss.item() == pytest.approx(expected + contrast * numbers["contrast_loss"], rel=1e-5)
    assert parts[3.0] - parts[0.0] == pytest.approx(3 * (parts[1.0] - parts[0.0]), rel=1e-3)
    seen = system.corruptor(text, system.encoder, NOW)
    views = system.encoder(seen.ids, text.real, text.segments), crop(text, 0.9, VOCAB)
    cropped = system.encoder(views[1].ids, views[1].real, views[1].segments)
    again = info_nce(views[0][:, 0], cropped[:, 0], 1.0, 4)[0]
    assert again.item() == pytest.approx(numbers["contrast_loss"], rel=1e-5)
    assert torch.isin(views[1].ids[:, 1:-1], text.ids).all() and not (seen.ids == text.ids).all()


def test_the_contrast_spreads_the_vectors_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it [CLS] of all texts is much the same vector; with it a text's views find each other (section 5.3)."""
    monkeypatch.setattr(train, "Folders", lambda *_: World())
    data = make_data(tmp_path / "data")
    # As the tiny recipes start: from the usual start [CLS] reads too little of the text for a short training.
    encoder = replace(ENCODER, init="fan_in", position_start="sinusoid", dropout=0.0, attention_dropout=0.0)
    found = {}
    for contrast in (0.0, 1.0):
        config = replace(COCO, encoder=encoder, contrast=contrast, temperature=0.2, group=8)
        run = run_of(Case(config), 60, log_every=30, eval_every=1000, save_every=1000)
        pretrain(run, data, tmp_path / str(contrast))
        lines = (tmp_path / str(contrast) / "metrics.jsonl").read_text().splitlines()
        found[contrast] = next(line for line in map(json.loads, lines) if line["kind"] == "eval")
    without, with_it = found[0.0], found[1.0]
    assert without["cosine_same"] - without["cosine_other"] < 0.03 and without["cosine_other"] > 0.95
    assert with_it["cosine_same"] - with_it["cosine_other"] > 0.15 and with_it["cosine_same"] > 0.9
    assert with_it["contrast_accuracy"] > 0.5 > 1 / 3 > without["contrast_accuracy"]  # chance is 1 in 15


def test_the_recipe_at_base_and_tiny() -> None:
    base, tiny = coco_lm().system, coco_lm(TINY).system
    assert isinstance(base, Coco.Config) and isinstance(tiny, Coco.Config)
    for config, layers in ((base, 4), (tiny, 1)):
        generator = config.encoder.scaled(config.corruptor.width, config.corruptor.depth)  # type: ignore[attr-defined]
        assert generator == replace(config.encoder, layers=layers)  # type: ignore[type-var]
        assert (config.keep, config.temperature, config.objective) == (0.9, 1.0, Corrective.Config(50.0, "selected"))
