"""Scores against transformers' own classes by a plain loop: one sentence, one masked token at a time, in float32."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM, ElectraForMaskedLM, ElectraForPreTraining

from electrain.batch import Batch
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.hub.opened import Opened, opened
from electrain.objectives.electric import Electric
from electrain.randomness import row_keys
from electrain.zeroshot import forward
from electrain.zeroshot.measures import Measure, combined, measure, untrained
from electrain.zeroshot.options import By

SENTENCES = [
    "the cat sat on a mat .",
    "unbelievable walkers sat on the cats",
    "The Dog ran",
    "who ran to the house , and who sat ?",  # ? is [UNK]
    "the cat sat on a mat .",
    "cats cats cats walking",
    "a",
    "the dog sat on a mat .",
]


def made(model: str | Opened, by: By, generator: str = "", rate: float | None = None) -> Measure:
    there = model if isinstance(model, Opened) else opened(model)
    return measure(there, by, generator, rate, "cpu", "float32", lambda _: None)


def words_of(ids: list[int], tokens: list[str]) -> list[list[int]]:
    """Places of every word, [CLS] and [SEP] left out; a word begins where a token has no ##."""
    words: list[list[int]] = []
    for place in range(1, len(ids) - 1):
        if tokens[place].startswith("##"):
            words[-1].append(place)
        else:
            words.append([place])
    return words


@torch.no_grad()
def discriminated(folder: str, sentence: str) -> list[float]:
    """The logit of "replaced" of every token."""
    words = AutoTokenizer.from_pretrained(folder)
    model = ElectraForPreTraining.from_pretrained(folder).eval()
    return model(**words(sentence, return_tensors="pt")).logits[0, 1:-1].tolist()


@torch.no_grad()
def guessed(folder: str, sentence: str, kind: type) -> list[float]:
    """log P of every token, with all that follows it in its word masked."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = kind.from_pretrained(folder).eval()
    ids = tokenizer(sentence)["input_ids"]
    out = []
    for word in words_of(ids, tokenizer.convert_ids_to_tokens(ids)):
        for number, place in enumerate(word):
            masked = torch.tensor([ids])
            masked[0, word[number:]] = tokenizer.mask_token_id
            out.append(model(masked).logits[0, place].log_softmax(-1)[ids[place]].item())
    return out


def test_rtd(discriminator: str) -> None:
    expected = [sum(-math.log1p(math.exp(z)) for z in discriminated(discriminator, text)) for text in SENTENCES]
    np.testing.assert_allclose(made(discriminator, "auto").sums(SENTENCES), expected, atol=1e-4)
    assert len({round(value, 3) for value in expected}) > 5, "the weights tell sentences apart"


@pytest.mark.parametrize(("which", "kind"), [("generator", ElectraForMaskedLM), ("bert", BertForMaskedLM)])
def test_pll(which: str, kind: type, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    judge = made(folder, "auto")
    assert judge.by == "pll"
    expected = [guessed(folder, text, kind) for text in SENTENCES]
    np.testing.assert_allclose(judge.tokens(judge.encode(SENTENCES)), np.concatenate(expected), atol=1e-4)
    np.testing.assert_allclose(judge.sums(SENTENCES), [sum(each) for each in expected], atol=1e-4)


def test_both(discriminator: str, generator: str) -> None:
    texts = SENTENCES[:4]
    said = {text: (discriminated(discriminator, text), guessed(generator, text, ElectraForMaskedLM)) for text in texts}
    for rate in (0.15, 0.4):
        a = (1 - rate) / rate
        expected = []
        for text in texts:
            total = 0.0
            for z, log_p in zip(*said[text], strict=True):
                d, p = 1 / (1 + math.exp(z)), math.exp(log_p)
                total += math.log(d * p / (a * (1 - d) + p))
            expected.append(total)
        got = made(discriminator, "both", generator, rate).sums(texts)
        np.testing.assert_allclose(got, expected, atol=1e-4)
    unsaid, usual = (made(discriminator, "both", generator, rate).sums(["a cat"]) for rate in (None, 0.15))
    assert unsaid == usual


def test_both_finds_what_a_perfect_discriminator_knows() -> None:
    """By counting the places where a token stands; p of the text, q of the generator."""
    p, q, rate = 0.3, 0.05, 0.15
    original = (1 - rate) * p + rate * p * q  # left alone, or the draw was the same
    replaced = rate * (1 - p) * q
    logit = math.log(replaced / original)
    assert combined(np.array([logit]), np.array([math.log(q)]), rate)[0] == pytest.approx(math.log(p), rel=1e-12)
    # Where probabilities vanish in floating point their logarithms do not.
    far = combined(np.array([900.0, -900.0]), np.array([-800.0, -800.0]), rate)
    assert far == pytest.approx([-900 - 800 - math.log(0.85 / 0.15), 0.0], abs=1e-9)


def test_energy_is_the_objective_s_own_naturalness(discriminator: str) -> None:
    """Against `Electric.naturalness` on one padded batch."""
    there = opened(discriminator)
    objective = Electric(there.vocab, there.encoder).eval()
    there = there._replace(rtd=None, energy=objective.head)
    fed = there.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    ids, real = fed["input_ids"], fed["attention_mask"].bool()
    maskable = real & ~torch.isin(ids, torch.tensor(there.vocab.special))
    batch = Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(0, 0, torch.arange(len(ids))))
    with torch.no_grad():
        expected = objective.naturalness(batch, there.encoder)
    judge = made(there, "auto")
    assert judge.by == "energy"
    np.testing.assert_allclose(judge.sums(SENTENCES), expected.numpy(), atol=1e-4)


def test_a_word_of_three_pieces(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for "unbelievable": all three masked, then the last two, then the last."""
    judge = made(bert, "pll")
    cls, sep, mask, un, believ, sat = (judge.model.vocab.cls, judge.model.vocab.sep, judge.model.vocab.mask, 20, 21, 7)
    read: set[tuple[int, ...]] = set()
    before = Bert.forward

    def look(self: Bert, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        read.update(tuple(row) for row in ids.tolist())
        return before(self, ids, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Bert, "forward", look)
    judge.sums(["unbelievable sat"])
    assert read == {
        (cls, mask, mask, mask, sat, sep),
        (cls, un, mask, mask, sat, sep),
        (cls, un, believ, mask, sat, sep),
        (cls, un, believ, 22, mask, sep),
    }


def test_the_same_masked_row_is_computed_once(bert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "the cat sat" and "the dog sat" are one row where the second word is masked: 5 rows for 6 tokens."""
    judge = made(bert, "pll")
    pair = ["the cat sat", "the dog sat"]
    alone = [judge.sums([text])[0] for text in pair]
    count = []
    before = Bert.forward

    def look(self: Bert, ids: torch.Tensor, *rest: object) -> torch.Tensor:
        count.append(len(ids))
        return before(self, ids, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Bert, "forward", look)
    together = judge.sums([*pair, pair[0]])
    assert sum(count) == 5
    np.testing.assert_allclose(together, [*alone, alone[0]], atol=1e-5)
    assert together[0] == together[2]


@pytest.mark.parametrize("tokens", [1, 16, 100])
def test_batches_change_nothing(
    tokens: int, discriminator: str, generator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = made(discriminator, "both", generator)
    expected = judge.sums(SENTENCES)
    monkeypatch.setattr(forward.Place, "tokens", tokens)
    monkeypatch.setattr(forward, "CHUNK", 2 * tokens)
    np.testing.assert_allclose(judge.sums(SENTENCES), expected, atol=1e-5)
    assert judge.sums([]).shape == (0,) and judge.sums(["", "a", " "])[[0, 2]].tolist() == [0, 0]


def test_special_tokens_in_a_text_are_text(discriminator: str) -> None:
    """As in pre-training: [MASK] typed by somebody is three tokens here, all [UNK], and no mask."""
    judge = made(discriminator, "rtd")
    assert judge.encode(["the [MASK]"]).ids.tolist() == [5, 1, 1, 1]
    assert (judge.tokens(judge.encode(["the [MASK]"])) < 0).all()


def test_untrained_is_another_network_of_the_same_kind(discriminator: str, bert: str) -> None:
    for folder in (discriminator, bert):
        there = opened(folder)
        one, other = untrained(there), untrained(there)
        assert one.encoder.config == there.encoder.config
        same = made(one, "auto").sums(SENTENCES)
        np.testing.assert_array_equal(same, made(other, "auto").sums(SENTENCES))
        assert made(one, "auto").by == made(there, "auto").by
        assert np.abs(same - made(there, "auto").sums(SENTENCES)).max() > 0.1


def test_what_a_model_cannot_do(discriminator: str, generator: str, bert: str, tmp_path: Path) -> None:
    cases: list[tuple[str, By, str, float | None, str]] = [
        (bert, "rtd", "", None, "has no discriminator, which --by rtd needs; choose --by pll"),
        (bert, "both", "", None, "has no discriminator, which --by both needs"),
        (discriminator, "pll", "", None, "name one with --generator"),
        (discriminator, "both", "", None, "name one with --generator"),
        (discriminator, "energy", "", None, "no run of Electric"),
        (discriminator, "both", discriminator, None, "holds no masked language model"),
        (discriminator, "both", generator, 1.0, "--rate 1.0: it is a share"),
    ]
    for model, by, other, rate, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            made(model, by, other, rate)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="neither discriminator"):
        made(opened(bert)._replace(lm=None), "auto")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch finds no GPU"):
            measure(opened(bert), "auto", "", None, "cuda", "float32", lambda _: None)


def test_numbers_that_are_none(discriminator: str) -> None:
    there = opened(discriminator)
    with torch.no_grad():
        there.encoder.tokens.weight[5] = math.nan
    with pytest.raises(UserError, match="scores that are no numbers"):
        made(there, "rtd").sums(["the cat"])
