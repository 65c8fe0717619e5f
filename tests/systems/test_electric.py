"""Electric: signs and odds by hand, energies that become log-probabilities, and sentences that are told apart."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from electrain.batch import Batch, chosen
from electrain.corruptors.base import Corruptor
from electrain.corruptors.cloze import Cloze
from electrain.corruptors.mask import Mask
from electrain.corruptors.unigram import Unigram
from electrain.data.examples import Full
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.objectives.electric import Electric, noise_logits
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.system import System
from electrain.vocab import Vocab
from tests.systems.cases.electric import CLOZE, UNIGRAM
from tests.systems.kit import Case, World, batch, build
from tests.training import (
    ENCODER,
    VOCAB,
    make_data,
    one_thread,  # noqa: F401 - a fixture
)

NOW = torch.zeros(())
# As the tiny recipes start, so that little training is enough.
QUICK = Bert.Config(
    layers=2,
    hidden=64,
    ffn=128,
    heads=4,
    embedding=64,
    positions=16,
    dropout=0.0,
    attention_dropout=0.0,
    init="fan_in",
    position_start="sinusoid",
    attention_start="local",
)
P, Q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])


def test_the_logit_by_hand() -> None:
    """P(noise) = k q / (k q + (n - k) exp(-E)), over the places where q is known."""
    energy = torch.tensor([[1.0, 2.0, 0.5, 3.0, 7.0], [1.0] * 5, [1.0] * 5])
    q = torch.tensor([[0.5, 0.2, 0.1, 0.4, 0.0], [0.1] * 5, [0.1] * 5])
    noise = torch.tensor([[True, False, False, False, False], [False] * 5, [True] * 5])
    logits, where = noise_logits(energy, q.log(), noise)
    assert where.tolist() == [[True] * 4 + [False], [False] * 5, [False] * 5] and logits.isfinite().all()
    for place in range(4):  # n = 4, k = 1
        e, share = energy[0, place].item(), q[0, place].item()
        expected = 1 * share / (1 * share + 3 * math.exp(-e))
        assert torch.sigmoid(logits[0, place]).item() == pytest.approx(expected, rel=1e-5)


def test_a_known_distribution_is_the_minimum() -> None:
    """Three words, 10 places of text exactly as P has it, 20 of noise exactly as Q: E = -log P, the constant too."""
    words = torch.tensor([0] * 6 + [1] * 3 + [2] + [0] * 4 + [1] * 6 + [2] * 10)[None]
    noise = torch.arange(30)[None] >= 10
    energy = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([energy], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits, _ = noise_logits(energy[words], Q.log()[words], noise)
        value = F.binary_cross_entropy_with_logits(logits, noise.float())
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    torch.testing.assert_close((-energy.detach()).exp(), P, rtol=1e-3, atol=1e-4)


def test_training_finds_the_distribution_of_three_words() -> None:
    """Through corruptor, encoder and head; half of the places are noise, so that wrong odds or labels would show."""
    vocab = Vocab(size=8, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 1, 2, 3, 4))
    sizes = Bert.Config(
        layers=1,
        hidden=16,
        ffn=32,
        heads=1,
        embedding=16,
        positions=16,
        dropout=0.0,
        attention_dropout=0.0,
        init="fan_in",
    )
    system = System(System.Config(sizes, Unigram.Config(rate=0.6), Electric.Config()), vocab)
    assert isinstance(system.corruptor, Unigram) and isinstance(system.objective, Electric)
    with torch.no_grad():
        system.corruptor.share[5:] = Q / Q.max()

    def texts(step: int, rows: int) -> Batch:
        source = torch.Generator().manual_seed(step)
        ids = 5 + torch.multinomial(P, rows * 16, replacement=True, generator=source).view(rows, 16)
        ids[:, 0], ids[:, -1] = vocab.cls, vocab.sep
        maskable = ids >= 5
        keys = row_keys(0, step, torch.arange(rows))
        return Batch(ids, torch.zeros_like(ids), torch.ones_like(maskable), maskable, keys)

    optimizer = torch.optim.Adam(system.parameters(), lr=5e-3)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 200)
        system(texts(step, 32), NOW).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        # Among as much noise as in training: with k fixed, text without any is unlike all that was seen (electric.py).
        text = texts(1000, 128)
        text = text._replace(ids=system.corruptor(text, system.encoder, NOW).ids)
        energy = system.objective.head(system.encoder(text.ids, text.real))
    found = torch.stack([-energy[text.ids == 5 + word].mean() for word in range(3)])
    torch.testing.assert_close(found, P.log(), rtol=0, atol=0.2)
    assert found.exp().sum().item() == pytest.approx(1.0, abs=0.1)


def test_the_cloze_model_says_how_likely_text_and_noise_are() -> None:
    """Against its softmax over the masked text, whole; -inf elsewhere; a share of the masked places is noise."""
    system = build(Case(replace(CLOZE, corruptor=Cloze.Config(rate=0.6, width=0.5)))).eval()
    assert isinstance(system, System) and isinstance(system.corruptor, Cloze)
    text = batch()
    seen = system.corruptor(text, system.encoder, NOW)
    assert seen.log_proposal is not None
    known, noise = seen.log_proposal.isfinite(), chosen(seen.picked, 16)
    assert known.sum(1).tolist() == [8] * 8 and noise.sum(1).tolist() == [4] * 8 and not (noise & ~known).any()
    assert torch.equal(seen.ids[~noise], text.ids[~noise]) and (seen.replaced & noise).any()
    own = system.corruptor.own
    hidden = own(torch.where(known, VOCAB.mask, text.ids), text.real, text.segments)
    whole = system.corruptor.generator.head(hidden, own.tokens.weight).log_softmax(-1)
    expected = whole.gather(2, seen.ids[..., None])[..., 0]
    torch.testing.assert_close(seen.log_proposal[known], expected[known], rtol=1e-4, atol=1e-4)
    assert seen.loss.item() == pytest.approx(
        -whole.gather(2, text.ids[..., None])[..., 0][known].mean().item(), rel=1e-4
    )
    assert not seen.log_proposal.requires_grad


def test_the_unigram_law_says_how_likely_its_tokens_are() -> None:
    system = build(Case(UNIGRAM))
    assert isinstance(system, System)
    text = batch()
    seen = system.corruptor(text, system.encoder, NOW)
    counts = World().frequencies().double()
    expected = (counts / counts.sum()).log()[seen.ids]
    assert seen.log_proposal is not None
    assert torch.equal(seen.log_proposal.isfinite(), text.maskable & (expected > -math.inf))
    torch.testing.assert_close(seen.log_proposal, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [UNIGRAM, CLOZE], ids=["unigram", "cloze"])
def test_a_right_guess_is_noise_all_the_same(config: System.Config) -> None:
    """The label is where noise was drawn, not what changed: else the odds of likely tokens would be wrong."""
    system = build(Case(config))
    assert isinstance(system, System) and isinstance(system.objective, Electric)
    text = batch()
    seen = system.corruptor(text, system.encoder, NOW)
    # As if every draw had hit the text's own token.
    seen = seen._replace(ids=text.ids, replaced=torch.zeros_like(seen.replaced))
    scored = system.objective(system.encoder(text.ids, text.real, text.segments), seen, text, system.encoder)
    noise, known = chosen(seen.picked, 16), seen.log_proposal.isfinite()  # type: ignore[union-attr]
    majority = scored.metrics["nce_majority"]
    assert majority[1] == known.sum() and majority[0] == (known & ~noise).sum() < known.sum()


def sentences(data: Path) -> tuple[Batch, Batch]:
    """Held-out rows, and the same with their inner tokens in another order."""
    shards = Shards.open(data, "validation")
    text = Loader(Full.Config().build(shards, 16), shards.vocab, batch=64, seed=0).step(0)[0]
    order = torch.argsort(torch.rand(64, 14, generator=torch.Generator().manual_seed(0)), dim=1)
    ids = text.ids.clone()
    ids[:, 1:15] = text.ids[:, 1:15].gather(1, order)
    maskable = text.maskable.clone()
    maskable[:, 1:15] = text.maskable[:, 1:15].gather(1, order)
    return text, text._replace(ids=ids, maskable=maskable)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corruptor", "weight", "steps"),
    [(Unigram.Config(law="uniform"), 1.0, 200), (Cloze.Config(rate=0.5, width=0.75, depth=0.5), 50.0, 300)],
    ids=["unigram", "cloze"],
)
def test_real_sentences_score_above_shuffled_ones(
    corruptor: Corruptor.Config, weight: float, steps: int, tmp_path: Path
) -> None:
    """After a short training, in 64 held-out pairs: the rescoring of the paper's section 3.3, small."""
    data = make_data(tmp_path / "data")
    shards = Shards.open(data)
    system = System(System.Config(QUICK, corruptor, Electric.Config(), weight), VOCAB)
    loader = Loader(Full.Config().build(shards, 16), shards.vocab, batch=32, seed=1)
    optimizer = torch.optim.Adam(system.parameters())
    real, shuffled = sentences(data)

    def share() -> float:
        with torch.no_grad():
            one, other = (system.objective.naturalness(rows, system.encoder) for rows in (real, shuffled))
        assert one.shape == (64,)
        return (one > other).float().mean().item()

    assert 0.3 < share() < 0.7
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 20)
        system(loader.step(step)[0], NOW).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert share() > 0.8, share()


def test_naturalness_by_hand_and_where_there_is_none() -> None:
    text = batch()
    text = text._replace(real=text.real & (torch.arange(16) < 12), maskable=text.maskable & (torch.arange(16) < 12))
    system = build(Case(System.Config(ENCODER, Unigram.Config(), Rtd.Config()))).eval()
    assert isinstance(system, System)
    hidden = system.encoder(text.ids, text.real, text.segments)
    original = 1 - torch.sigmoid(system.objective.head(hidden))  # type: ignore[operator]
    expected = [original[row, 1:12].log().sum().item() for row in range(8)]
    assert system.objective.naturalness(text, system.encoder).tolist() == pytest.approx(expected, rel=1e-4)
    system = build(Case(UNIGRAM)).eval()
    assert isinstance(system, System)
    energy = system.objective.head(system.encoder(text.ids, text.real, text.segments))  # type: ignore[operator]
    expected = [-energy[row, 1:12].sum().item() for row in range(8)]
    assert system.objective.naturalness(text, system.encoder).tolist() == pytest.approx(expected, rel=1e-4)
    masked = build(Case(System.Config(ENCODER, Mask.Config(), Mlm.Config())))
    assert isinstance(masked, System)
    with pytest.raises(UserError, match="the objective Mlm judges no text"):
        masked.objective.naturalness(text, masked.encoder)


def test_a_corruptor_that_does_not_know_its_proposals_is_refused() -> None:
    system = build(Case(System.Config(ENCODER, Mask.Config(), Electric.Config())))
    with pytest.raises(UserError, match="needs a corruptor that knows its proposals"):
        system(batch(), NOW)
    with pytest.raises(UserError, match="both noise and text"):
        Cloze.Config(noise=1.0)
