"""REINFORCE on three words, where every expectation can be written down; and what it does to entropy."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from electrain.batch import Batch
from electrain.corruptors.adversarial import Adversarial
from electrain.corruptors.base import Corrupted
from electrain.encoders.bert import Bert
from electrain.metrics import read
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.system import System
from electrain.vocab import Vocab
from tests.training import one_thread  # noqa: F401 - a fixture

WORDS = Vocab(size=3, pad=0, unk=0, cls=0, sep=0, mask=2, special=())
SIZES = Bert.Config(layers=1, hidden=8, ffn=16, heads=1, embedding=8, positions=4)
TEXT = (0, 1, 0, 1)
PLACE = 1
VERDICT = torch.tensor([1.3, -0.4, 0.2])
"""The discriminator's logit of "replaced", by what stands at the place."""


def corruptor() -> tuple[Adversarial, Bert]:
    """A generator with opinions, which is never given the text's own token."""
    encoder = SIZES.build(WORDS)
    made = Adversarial.Config(width=1.0, masked=1.0).build(WORDS, encoder)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return made.eval(), encoder


def rows(count: int, first: int = 0) -> Batch:
    """One text `count` times, each with randomness of its own, and one place that can be selected."""
    ids = torch.tensor([TEXT]).expand(count, -1).clone()
    maskable = torch.zeros_like(ids, dtype=torch.bool)
    maskable[:, PLACE] = True
    return Batch(
        ids, torch.zeros_like(ids), torch.ones_like(maskable), maskable, row_keys(0, 0, first + torch.arange(count))
    )


def policy(made: Adversarial) -> Tensor:
    """p(v) at the place, (3,), with its gradient."""
    ids = torch.tensor([TEXT])
    ids[0, PLACE] = WORDS.mask
    hidden = made.reader(ids, torch.ones_like(ids, dtype=torch.bool))
    return made.generator.head(hidden[:, PLACE], made.reader.tokens.weight)[0].softmax(0)


def by_hand() -> list[float]:
    """R(v): -log D where the sample is the text's token, -log(1 - D) where it is another; D = P(original)."""
    original = [1 / (1 + math.exp(logit)) for logit in VERDICT.tolist()]
    return [-math.log(d if word == TEXT[PLACE] else 1 - d) for word, d in enumerate(original)]


def learn(made: Adversarial, encoder: Bert, count: int) -> tuple[Corrupted, Tensor, dict[str, Tensor]]:
    """Samples of `count` rows, the loss of the discriminator's verdicts on them, and its metrics."""
    batch = rows(count)
    seen = made(batch, encoder, torch.zeros(()))
    feedback = made.feedback(seen, VERDICT[seen.ids], batch)
    return seen, feedback.loss, feedback.metrics


def gradient(value: Tensor, made: Adversarial) -> Tensor:
    """Of the generator's parameters, in one vector."""
    parameters = list(made.generator.parameters())
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, found, strict=True)]
    )


def test_the_mean_over_many_draws_is_the_gradient_of_the_expected_reward() -> None:
    made, encoder = corruptor()
    seen, loss, numbers = learn(made, encoder, 40_000)
    p, reward = policy(made), torch.tensor(by_hand())
    share = torch.stack([(seen.ids[:, PLACE] == word).float().mean() for word in range(3)])
    torch.testing.assert_close(share, p.detach(), rtol=0, atol=0.01)
    assert p.min() > 0.1, "every word must be drawn"
    count, total = numbers["reward"][1], numbers["reward"][0]
    assert count == 40_000 and total / count == pytest.approx(float(share @ reward), rel=1e-4)
    exact = -gradient(p @ reward, made)
    torch.testing.assert_close(gradient(loss, made), exact, rtol=0, atol=0.03 * exact.abs().max().item())
    assert exact.norm() > 0.05


@pytest.mark.parametrize("weights", [0.0, 2.0])
def test_a_draw_gives_its_own_term_with_the_baseline_taken_off(weights: float) -> None:
    """grad log p(v) (R(v) - b), b = -log sigmoid(w h); its expectation is the same with any b."""
    made, encoder = corruptor()
    with torch.no_grad():
        made.baseline.weight.fill_(weights)
    ids = torch.tensor([TEXT])
    ids[0, PLACE] = WORDS.mask
    hidden = made.reader(ids, torch.ones_like(ids, dtype=torch.bool))[0, PLACE]
    b = math.log1p(math.exp(-(made.baseline.weight[0] @ hidden).item()))
    p, reward = policy(made), by_hand()
    terms = [-gradient(p[word].log(), made) * (reward[word] - b) for word in range(3)]
    drawn = set()
    for row in range(64):
        batch = rows(1, row)
        seen = made(batch, encoder, torch.zeros(()))
        word = int(seen.ids[0, PLACE])
        found = made.feedback(seen, VERDICT[seen.ids], batch)
        torch.testing.assert_close(gradient(found.loss, made), terms[word], rtol=1e-4, atol=1e-6)
        assert found.metrics["baseline"][0].item() == pytest.approx(b, rel=1e-5)
        assert found.metrics["reward"][0].item() == pytest.approx(reward[word], rel=1e-5)
        drawn.add(word)
    assert drawn == {0, 1, 2}
    expected = sum(float(p[word]) * terms[word] for word in range(3))
    torch.testing.assert_close(expected, -gradient(p @ torch.tensor(reward), made), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_the_baseline_learns_what_to_expect_and_lowers_the_variance() -> None:
    """By cross-entropy it settles at -log E[exp(-R)]; the loss that it learns by reaches nothing else."""
    made, encoder = corruptor()
    optimizer = torch.optim.Adam([made.baseline.weight], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        learn(made, encoder, 4000)[1].backward()
        optimizer.step()
    p, reward = policy(made), torch.tensor(by_hand())
    b = learn(made, encoder, 1)[2]["baseline"][0]
    assert b.item() == pytest.approx(float(-(p @ (-reward).exp()).log()), rel=0.02)

    def variance(baseline: float | Tensor) -> float:
        terms = torch.stack([gradient(p[word].log(), made) * (reward[word] - baseline) for word in range(3)])
        mean = p.detach() @ terms
        return float(p.detach() @ (terms - mean).square().sum(1))

    assert variance(b) < 0.5 * variance(0.0), (variance(b), variance(0.0))


@pytest.mark.parametrize("tying", ["none", "embeddings"])
def test_generator_and_discriminator_learn_from_their_own_losses(tying: str) -> None:
    """Where the embeddings are shared they are reached by both, and nothing else is."""
    config = System.Config(SIZES, Adversarial.Config(width=1.0, tying=tying), Rtd.Config())  # type: ignore[arg-type]
    batch = rows(16)

    def reached(weight: float, loss: str) -> set[str]:
        torch.manual_seed(0)
        system = System(replace(config, weight=weight), WORDS)
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        if loss == "discriminator's":
            system.corruptor.feedback = lambda *_: None  # type: ignore[method-assign]
        system(batch, torch.zeros(())).loss.backward()
        found = [name for name, p in system.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        return {name for name in found if tying == "none" or not name.startswith("encoder.embeddings")}

    discriminator, generator = reached(1.0, "discriminator's"), reached(0.0, "generator's")
    assert {name.split(".")[0] for name in discriminator} == {"encoder", "objective"}
    assert {name.split(".")[0] for name in generator} == {"corruptor"}
    assert "corruptor.baseline.weight" in generator and "corruptor.generator.head.bias" in generator
    assert any(name.startswith("corruptor.reader.layers") for name in generator)


def test_the_generators_entropy_falls_without_a_masked_lm_loss() -> None:
    """Appendix F. Of 40 words the text holds 8: the discriminator finds the others out, and they lose their reward."""
    vocab = Vocab(size=40, pad=0, unk=0, cls=0, sep=0, mask=1, special=(0, 1))
    encoder = replace(SIZES, hidden=16, embedding=16, positions=12, dropout=0.0, attention_dropout=0.0)
    system = System(System.Config(encoder, Adversarial.Config(width=1.0, rate=0.25), Rtd.Config(), weight=50.0), vocab)
    optimizer = torch.optim.Adam(system.parameters(), lr=5e-3)
    every = torch.ones(32, 12, dtype=torch.bool)
    lines = []
    for step in range(100):
        ids = torch.randint(2, 10, (32, 12))
        batch = Batch(ids, torch.zeros_like(ids), every, every, row_keys(0, step, torch.arange(32)))
        output = system(batch, torch.zeros(()))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        lines.append(read(output.metrics))

    def at(name: str, steps: slice) -> float:
        return sum(line[name] for line in lines[steps]) / len(lines[steps])

    first, last = slice(0, 10), slice(-10, None)
    assert at("generator_entropy", first) > 0.95 * math.log(40)
    assert at("generator_entropy", last) < math.log(10), at("generator_entropy", last)
    assert at("sampled_right", last) > 3 * at("sampled_right", first)
