"""What is computed for the page, against transformers on the same text."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, ElectraForMaskedLM, ElectraForPreTraining

from electrain.errors import UserError
from electrain.hub.opened import opened
from electrain.inspect.corrupt import How, damaged
from electrain.inspect.line import Reader
from electrain.inspect.shelf import Choice, Shelf, sides, steps_of
from electrain.inspect.verdict import most, verdict
from tests.test_opened import ELECTRA, a_run
from tests.zeroshot.conftest import POSITIONS, WORDS, saved

TEXT = "The cats sat on the mat, and 🐈 un believ the walker ."


def test_probabilities_are_those_of_transformers(discriminator: str) -> None:
    model = opened(discriminator)
    line = Reader(model.tokenizer).read(TEXT)
    fed = AutoTokenizer.from_pretrained(discriminator)(TEXT, return_tensors="pt")
    assert fed["input_ids"].shape[1] == len(line.tokens) + 2 <= POSITIONS
    with torch.no_grad():
        wanted = ElectraForPreTraining.from_pretrained(discriminator)(**fed).logits[0, 1:-1].sigmoid()
    made = verdict(model, line)
    assert made is not None and made.kind == "replaced" and made.windows == 1
    np.testing.assert_allclose(made.values, wanted.numpy(), rtol=1e-5, atol=1e-5)
    assert wanted.std() > 0.01  # or anything would agree


def test_a_long_text_is_read_in_windows(discriminator: str) -> None:
    model = opened(discriminator)
    line = Reader(model.tokenizer).read("the cat sat on the mat . " * 10)
    made = verdict(model, line)
    assert made is not None and made.windows > 3 and len(made.values) == 70
    # The first token is read in the first window, whose tokens transformers reads alike.
    ids = torch.tensor([[2, *line.ids[: POSITIONS - 2].tolist(), 3]])
    with torch.no_grad():
        wanted = ElectraForPreTraining.from_pretrained(discriminator)(input_ids=ids).logits[0, 1].sigmoid()
    assert made.values[0] == pytest.approx(wanted.item(), abs=1e-5)


def test_surprise_where_there_is_no_discriminator(generator: str) -> None:
    model = opened(generator)
    line = Reader(model.tokenizer).read("the cat sat on a moon .")
    made = verdict(model, line)
    assert made is not None and made.kind == "surprise"
    theirs = ElectraForMaskedLM.from_pretrained(generator).eval()
    for place, number in enumerate(line.ids.tolist()):
        ids = torch.tensor([[2, *line.ids.tolist(), 3]])
        ids[0, place + 1] = WORDS.index("[MASK]")
        with torch.no_grad():
            bits = -theirs(input_ids=ids).logits[0, place + 1].log_softmax(0)[number].item() / math.log(2)
        assert made.values[place] == pytest.approx(bits, abs=1e-4)
    assert most(model) < 100_000 and most(model) >= 16


def theirs_at(generator: str, masked: np.ndarray, size: int) -> torch.Tensor:
    """Logits of transformers for masked ids, read in pieces of `size` tokens."""
    model = ElectraForMaskedLM.from_pretrained(generator).eval()
    with torch.no_grad():
        return torch.cat(
            [
                model(input_ids=torch.tensor([[2, *masked[at : at + size].tolist(), 3]])).logits[0, 1:-1]
                for at in range(0, len(masked), size)
            ]
        )


def test_samples_follow_the_generator(generator: str) -> None:
    model = opened(generator)
    assert model.lm is not None
    ids = Reader(model.tokenizer).read("the cat sat on a mat and the dog ran to the house . " * 4).ids
    how = How(rate=0.4, temperature=0.0, seed=3, masked=1.0)
    cold = damaged(model.lm, model.vocab, ids, how)
    logits = theirs_at(generator, cold.masked, POSITIONS - 2)
    # Temperature 0 is the likeliest token, and so is a temperature that is almost 0.
    assert (cold.sampled[cold.picked] == logits.argmax(1).numpy()[cold.picked]).all()
    assert (damaged(model.lm, model.vocab, ids, replace(how, temperature=1e-4)).sampled == cold.sampled).all()
    # What is not selected stays, what is selected is masked, and as many are selected in every piece as was asked for.
    assert (cold.sampled == ids)[~cold.picked].all() and (cold.masked == ids)[~cold.picked].all()
    assert (cold.masked[cold.picked] == WORDS.index("[MASK]")).all()
    sizes = [len(ids[at : at + POSITIONS - 2]) for at in range(0, len(ids), POSITIONS - 2)]
    assert cold.picked.sum() == sum(math.floor(0.4 * size + 0.5) for size in sizes) and len(sizes) == 4
    # The probabilities that are told are those of the softmax at the temperature.
    warm = damaged(model.lm, model.vocab, ids, replace(how, temperature=1.7))
    assert (warm.picked == cold.picked).all() and (warm.masked == cold.masked).all()  # the same places and masks
    wanted = (logits / 1.7).softmax(1).numpy()
    place = np.flatnonzero(warm.picked)
    np.testing.assert_allclose(warm.chance[place], wanted[place, warm.sampled[place]], atol=1e-5)
    np.testing.assert_allclose(warm.original[place], wanted[place, ids[place]], atol=1e-5)
    assert not warm.chance[~warm.picked].any()


def test_a_seed_says_it_again(generator: str) -> None:
    model = opened(generator)
    assert model.lm is not None
    ids = Reader(model.tokenizer).read("the cat sat on a mat and the dog ran").ids
    drawn = [damaged(model.lm, model.vocab, ids, How(0.5, 2.0, seed)) for seed in (1, 1, 2)]
    for one, again in zip(drawn[0], drawn[1], strict=True):
        assert (one == again).all()
    assert (drawn[0].picked != drawn[2].picked).any()


def test_samples_come_as_often_as_their_probability_says(generator: str) -> None:
    model = opened(generator)
    assert model.lm is not None
    size, rows = POSITIONS - 2, 300
    ids = Reader(model.tokenizer).read("cat " * size * rows).ids
    made = damaged(model.lm, model.vocab, ids, How(rate=1.0, temperature=1.5, masked=1.0))
    assert made.picked.all() and (made.masked == WORDS.index("[MASK]")).all()
    chances = (theirs_at(generator, made.masked[:size], size) / 1.5).softmax(1).numpy()  # every row is the same
    for place in range(size):
        likeliest = chances[place].argmax()
        share = (made.sampled[place::size] == likeliest).mean()
        spread = math.sqrt(chances[place, likeliest] * (1 - chances[place, likeliest]) / rows)
        assert abs(share - chances[place, likeliest]) < 4 * spread


def test_an_empty_text(generator: str) -> None:
    model = opened(generator)
    assert model.lm is not None
    line = Reader(model.tokenizer).read("")
    made = damaged(model.lm, model.vocab, line.ids, How())
    assert all(len(field) == 0 for field in made)
    said = verdict(model, line)
    assert said is not None and len(said.values) == 0 and len(said.shades) == 0


def test_which_models_stand_side_by_side(tmp_path: Path, generator: str, discriminator: str) -> None:
    run = str(tmp_path / "run")
    a_run(Path(run), Path(generator), ELECTRA, (10, 20))
    assert steps_of(run) == ["10", "20"] and steps_of(generator) == [] and steps_of("owner/model") == []
    assert sides((run,), ()) == [Choice(run, "latest")]
    assert sides((run,), ("10", "20")) == [Choice(run, "10"), Choice(run, "20")]
    assert sides((run, discriminator), ("10",)) == [Choice(run, "10"), Choice(discriminator, "latest")]
    assert sides((run, run), ("10",)) == [Choice(run, "10"), Choice(run, "10")]
    for models, checkpoints in (((), ()), (("a", "b", "c"), ()), (("a",), ("1", "2", "3"))):
        with pytest.raises(UserError, match="at most twice"):
            sides(models, checkpoints)
    shelf = Shelf(generator)
    assert shelf.take(Choice(run, "10")).model.step == 10 and shelf.take(Choice(run)).model.step == 20
    assert shelf.take(Choice(run)).lm is shelf.take(Choice(run)).model.lm is not None
    assert shelf.take(Choice(discriminator)).model.lm is None is not shelf.take(Choice(discriminator)).lm
    other = saved(ElectraForMaskedLM.from_pretrained(generator), tmp_path / "other")
    tokens = AutoTokenizer.from_pretrained(other)
    tokens.add_tokens(["new"])
    tokens.save_pretrained(other)
    with pytest.raises(UserError, match=r"vocabulary|table"):
        Shelf(other).take(Choice(discriminator))
