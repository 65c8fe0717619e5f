"""Early exits of the generator and of the discriminator: rules against hand computation, and what they do."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from electrain.batch import Batch, Selection, select
from electrain.corruptors.early_exit import EarlyExit
from electrain.corruptors.exit_rule import ExitChoice, ExitRule
from electrain.corruptors.generator import Generator
from electrain.corruptors.joint import Joint
from electrain.cost import Work
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.metrics import Metrics, add, read
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.randomness import row_keys
from electrain.recipes.electra import electra_small
from electrain.recipes.kang import adaptive_early_exit, early_exit_discriminator
from electrain.recipes.sizes import SIZES, Size
from electrain.run import Run
from electrain.system import System
from electrain.systems.base import Pretraining
from electrain.systems.early_exit import EarlyExit as DiscriminatorExit
from electrain.systems.early_exit import SectionExit, first_above_mean
from tests.forked import together
from tests.systems.cases.early_exit import CASES, DEEP, DISCRIMINATOR, generator
from tests.systems.kit import Case, batch, build
from tests.training import (
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

Kind = Literal["paper", "log-space", "set-point"]


def after(rule: ExitRule, probabilities: list[float], accuracy: float, before: float) -> list[float]:
    return rule(torch.tensor(probabilities), torch.tensor(accuracy), torch.tensor(before)).tolist()


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum()


def seen(accuracy: float, tokens: int = 1000) -> Metrics:
    return {"rtd_accuracy": torch.tensor([accuracy * tokens, float(tokens)])}


def layers(probabilities: Tensor, exits: tuple[int, ...] = (3, 6, 9, 12)) -> float:
    return float(probabilities.double() @ torch.tensor(exits).double())


def test_the_printed_example_by_truncation() -> None:
    """Section 2 prints [.27, .28, .21, .21] for P = [.4, .4, .1, .1] and accuracies .7, then .9: cut to two places."""
    found = after(ExitRule("paper", alpha=0.1), [0.4, 0.4, 0.1, 0.1], 0.9, 0.7)
    assert [math.floor(100 * p) for p in found] == [27, 28, 21, 21]
    assert found == pytest.approx([0.2795, 0.2851, 0.2155, 0.2199], abs=1e-4)


@pytest.mark.parametrize(("accuracy", "before"), [(0.93, 0.91), (0.9, 0.97), (0.95, 0.95)])
def test_the_rules_are_their_formulas(accuracy: float, before: float) -> None:
    p, r = np.array([0.1, 0.2, 0.3, 0.4]), np.arange(4)
    formulas: dict[Kind, np.ndarray] = {
        "paper": p + 5.0 * (accuracy - before) * r,
        "log-space": np.log(p) + 5.0 * (accuracy - before) * r,
        "set-point": np.log(p) + 5.0 * (accuracy - 0.9) * r,
    }
    for kind, logits in formulas.items():
        rule = ExitRule(kind, alpha=5.0, target=0.9)
        assert after(rule, p.tolist(), accuracy, before) == pytest.approx(softmax(logits).tolist(), abs=1e-6)


def follow(kind: Kind, accuracies: list[float], alpha: float) -> list[Tensor]:
    """Probabilities after each window, of two steps, with the given accuracies."""
    choice = ExitChoice(ExitRule(kind, alpha=alpha, target=0.93, every=2))
    found = []
    for step, accuracy in enumerate(np.repeat(accuracies, 2)):
        choice.before(step, 0)
        choice.after(step, seen(float(accuracy)))
        if step % 2:
            found.append(choice.probabilities.clone())
    return found


RISING = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]


def test_as_published_the_probabilities_flatten_whatever_the_accuracy_does() -> None:
    """So the mean number of layers falls from 9 of 12 to 7.5, and stays there."""
    for accuracies in (RISING, RISING[::-1]):
        distance = [(p - 0.25).abs().max().item() for p in follow("paper", accuracies, 0.1)]
        # No difference is known after one window; each update then divides the distance by about four.
        assert distance[:4] == pytest.approx([0.15, 0.039, 0.010, 0.0025], rel=0.3)
        assert max(distance[4:]) < 0.0012
    assert [round(layers(p), 1) for p in follow("paper", RISING, 0.1)] == [9.0, 7.9, 7.6, 7.5, 7.5, 7.5, 7.5]
    # Even where all accuracy comes and goes it is forgotten at once.
    wild = follow("paper", [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 0.1)
    assert max((p - 0.25).abs().max().item() for p in wild[2:]) < 0.035


def test_in_log_space_they_move_with_the_accuracy_and_stay_with_it() -> None:
    rising, falling = follow("log-space", RISING, 10.0), follow("log-space", RISING[::-1], 10.0)
    up, down = [layers(p) for p in rising], [layers(p) for p in falling]
    assert up[0] == down[0] == pytest.approx(9.0)
    assert up == sorted(up) and up[-1] > 10.4 and down == sorted(down)[::-1] and down[-1] < 7.1
    same = follow("log-space", [0.9] * 4, 10.0)
    torch.testing.assert_close(same[-1], torch.tensor([0.1, 0.2, 0.3, 0.4]))
    # Changes add up: where accuracy comes back, so do they.
    torch.testing.assert_close(follow("log-space", [0.9, 0.95, 0.92, 0.9], 10.0)[-1], same[-1])


def test_to_a_set_point_they_move_until_it_is_reached() -> None:
    low, high = follow("set-point", [0.90] * 6, 10.0), follow("set-point", [0.96] * 6, 10.0)
    shallow, deep = [layers(p) for p in low], [layers(p) for p in high]
    assert shallow == sorted(shallow)[::-1] and shallow[-1] < 6 and deep == sorted(deep) and deep[-1] > 10.5
    torch.testing.assert_close(follow("set-point", [0.93] * 6, 10.0)[-1], torch.tensor([0.1, 0.2, 0.3, 0.4]))
    # An exit that was out of use for long comes back.
    there_and_back = follow("set-point", [0.0] * 50 + [0.99] * 20, 10.0)
    assert layers(there_and_back[49]) < 3.01 and layers(there_and_back[-1]) > 11


def test_exits_are_drawn_as_often_as_they_are_likely_and_again_the_same() -> None:
    one, other = ExitChoice(ExitRule()), ExitChoice(ExitRule())
    drawn = []
    for step in range(800):
        one.before(step, 5)
        drawn.append(one.now)
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.05)
    for step in (17, 799, 4):  # whatever was drawn before
        other.before(step, 5)
        assert other.now == drawn[step]
    assert len({tuple(draws(seed)) for seed in range(4)}) == 4


def draws(seed: int) -> list[int]:
    choice, found = ExitChoice(ExitRule()), []
    for step in range(20):
        choice.before(step, seed)
        found.append(choice.now)
    return found


def test_probabilities_are_read_when_they_have_changed_and_no_earlier() -> None:
    """A host that asked the device in every step would wait for it."""
    choice = ExitChoice(ExitRule("set-point", alpha=100.0, every=4))
    reads = []
    for step in range(12):
        old = choice._cumulative
        choice.before(step, 0)
        reads.append(old is not choice._cumulative)
        choice.after(step, seen(0.5))
    assert [step for step, read in enumerate(reads) if read] == [0, 4, 8]
    choice.before(12, 0)
    assert choice.now == 0  # all mass is on the first exit by now


@pytest.mark.parametrize("exit", range(4))
def test_the_generator_is_its_sections_joined(exit: int) -> None:
    """Every exit against layers put together by hand, with joins that are no identity."""
    system = build(CASES["early_exit_paper"])
    assert isinstance(system, System) and isinstance(system.corruptor, EarlyExit)
    network, text = system.corruptor.generator, batch()
    own, outputs = network.encoder, []
    x = own.embed(text.ids, text.segments)
    for section in range(exit + 1):
        if section > 1:
            join = network.joins[section - 2]
            assert isinstance(join, nn.Linear) and join.weight.shape == (16, section * 16)
            x = torch.cat(outputs, -1) @ join.weight.T + join.bias
        x = own.through(x, text.real, section, section + 1)
        outputs.append(x)
    index = torch.tensor([[1, 2]]).expand(8, 2)
    logits = network.heads[exit](x[:, 1:3], own.tokens.weight)
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), text.ids[:, 1:3].flatten())
    found = network(text.ids, text, Selection(index, index > 0), exit, dropout=False)
    torch.testing.assert_close(found.loss, expected)


def test_joins_start_as_the_newest_section_and_upper_exits_weigh_more() -> None:
    """A fresh generator left after its last layer is the plain encoder; losses weigh as 1 to 4, 1 on average."""
    torch.manual_seed(0)
    system = generator(DEEP, ExitRule()).build(VOCAB)
    corruptor, text = system.corruptor, batch()
    assert isinstance(corruptor, EarlyExit)
    plain = Generator(corruptor.generator.encoder, system.encoder)
    plain.head = corruptor.generator.heads[3]  # type: ignore[assignment]
    picked = select(text, 0.15)
    found = corruptor.generator(text.ids, text, picked, 3, dropout=False)
    torch.testing.assert_close(found.loss, plain(text.ids, text, picked, system.encoder, dropout=False).loss)
    weights = []
    for corruptor.choice.now in range(4):
        seen = corruptor(text, system.encoder, torch.zeros(()))
        weights.append(seen.loss.item() / read(seen.metrics)["mlm_loss"])
        assert read(seen.metrics)["generator_layers"] == corruptor.choice.now + 1
    assert weights == pytest.approx([0.4, 0.8, 1.2, 1.6], rel=1e-5)


def test_held_out_the_last_exit_is_taken() -> None:
    system = build(CASES["early_exit_paper"]).eval()
    losses = []
    for step in range(8):
        system.before(step, 0)
        losses.append(system(batch(), torch.zeros(())).loss.item())
    assert len(set(losses)) == 1


def test_what_the_generator_costs_is_expected_over_its_exits() -> None:
    """Layers 9 of 12 by the paper's probabilities; joins by hand: 2 and 3 outputs of 64 into 64, 128 places."""
    work = {item.part: item.plain for item in _cost(adaptive_early_exit())}
    whole = {item.part: item.plain for item in _cost(electra_small())}
    assert work["generator"] == pytest.approx(whole["generator"] * 9 / 12)
    assert work["generator: joins of sections"] == pytest.approx(128 * 2 * 64 * 64 * (0.7 * 2 + 0.4 * 3))
    assert sum(work.values()) < sum(whole.values())


def _cost(run: Run) -> tuple[Work, ...]:
    with torch.device("meta"):
        return run.system.build(VOCAB).cost(run.length, 30522)


def agree(rank: int, folder: str) -> None:
    """One of two processes: its own accuracies, and what it draws."""
    choice, sections = ExitChoice(ExitRule("log-space", alpha=20.0, every=5)), SectionExit(2, 5, 1)
    drawn = []
    for step in range(30):
        choice.before(step, 0)
        sections.before(step)
        drawn.append((choice.now, sections.now))
        choice.after(step, seen(0.01 * step + 0.5 * rank, tokens=100))
        # Rank 0 alone would leave after the first section, rank 1 alone never; together they leave.
        sections.after(step, [torch.tensor([50.0 + 30 * (1 - rank), 100.0]), torch.tensor([50.0 + 20 * rank, 100.0])])
    Path(folder, f"{rank}.json").write_text(json.dumps([drawn, choice.probabilities.tolist()]))


@pytest.mark.xdist_group("processes")
def test_processes_that_see_different_texts_take_the_same_exits(tmp_path: Path) -> None:
    together(agree, str(tmp_path), ranks=2, folder=tmp_path)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == other
    alone = ExitChoice(ExitRule("log-space", alpha=20.0, every=5))
    for step in range(30):
        alone.after(step, seen(0.01 * step + 0.25, tokens=200))
    assert one[1] == pytest.approx(alone.probabilities.tolist(), abs=1e-5)
    assert [pair[1] for pair in one[0]] == [1, 0, 0, 0, 0] * 6


def test_the_first_section_above_the_mean_of_all() -> None:
    assert first_above_mean([0.90, 0.92, 0.94, 0.96]) == 2  # mean 0.93
    assert first_above_mean([0.90, 0.95, 0.94, 0.96]) == 1  # mean 0.9375
    assert first_above_mean([0.95, 0.94, 0.93, 0.90]) == 0
    assert all(first_above_mean([value] * n) == n - 1 for n in range(1, 8) for value in (0.5, 0.1, 0.93, 1 / 3))


def test_sections_are_measured_then_left_until_the_next_window() -> None:
    choice = SectionExit(3, every=5, measured=2)
    best, left = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2], []
    for step in range(15):
        choice.before(step)
        left.append(choice.now)
        # In steps that do not measure the figures are wild, and must not count.
        right = [90.0 if section == best[step] else 80.0 for section in range(3)] if step % 5 < 2 else [99.0, 0.0, 0.0]
        choice.after(step, [torch.tensor([value, 100.0]) for value in right])
    assert left == [2, 2, 0, 0, 0, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2]
    assert choice.accuracies.tolist() == [[160.0, 200.0], [160.0, 200.0], [180.0, 200.0]]


@pytest.mark.parametrize("exit", range(4))
def test_loss_and_accuracies_are_those_of_the_sections_that_ran(exit: int) -> None:
    still = replace(DISCRIMINATOR, encoder=replace(DEEP, dropout=0.0, attention_dropout=0.0))
    system = build(Case(still))
    assert isinstance(system, DiscriminatorExit)
    system.choice.now = exit
    text = batch()
    seen = system.corruptor(text, system.encoder, torch.zeros(()))
    losses, accuracies = [], []
    for section in range(exit + 1):
        hidden = system.encoder(seen.ids, text.real, text.segments, depth=section + 1)
        logit = system.sections[section].head(hidden).detach().numpy().astype(float)  # type: ignore[union-attr, operator]
        p, y = 1 / (1 + np.exp(-logit)), seen.replaced.numpy()
        losses.append(-np.where(y, np.log(p), np.log(1 - p)).mean())
        accuracies.append(((p > 0.5) == y).mean())
    output = system(text, torch.zeros(()))
    assert output.loss.item() == pytest.approx(seen.loss.item() + 50 * np.mean(losses), rel=1e-5)
    found = read(output.metrics)
    assert found["encoder_layers"] == exit + 1 and found["rtd_accuracy"] == pytest.approx(accuracies[-1])
    assert [found[f"section_accuracy_{n}"] for n in range(1, exit + 2)] == pytest.approx(accuracies)
    assert all(math.isnan(found[f"section_accuracy_{n}"]) for n in range(exit + 2, 5))
    assert found["encoder_saved"] == pytest.approx((3 - exit) / 4)


def test_what_leaving_early_costs_is_expected_over_the_sections() -> None:
    """Half of all steps measure: 4 layers and heads; the rest leave after 2.5 on average."""
    work = {item.part: item.plain for item in DISCRIMINATOR.build(VOCAB).cost(16, VOCAB.size)}
    assert work["encoder"] == 16 * (8 * 32 * 32 + 4 * 32 * 64) * 3.25
    assert work["encoder: attention"] == 16 * 4 * 32 * 16 * 3.25
    assert work["replaced-token head"] == 16 * (2 * 32 * 32 + 2 * 32) * 3.25
    assert work["generator"] == 16 * (8 * 32 * 32 + 4 * 32 * 64) * 4  # as published: the whole encoder


ROWS = 64
SHALLOW = Bert.Config(
    layers=4,
    hidden=64,
    ffn=128,
    heads=4,
    embedding=64,
    positions=16,
    dropout=0.0,
    attention_dropout=0.0,
    init="fan_in",
)


def topics(step: int) -> Batch:
    """Rows of words drawn from one of 12 topics of 4 words each: a generator that has understood it draws words that
    cannot be told from the text's own, one that has not draws from other topics.
    """
    text = torch.Generator().manual_seed(step)
    topic, word = (torch.randint(n, (ROWS, m), generator=text) for n, m in ((12, 1), (4, 16)))
    ids = 5 + topic * 4 + word
    ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
    maskable = ids > 4
    real = torch.ones_like(maskable)
    return Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(3, step, torch.arange(ROWS)))


def learn(
    config: Pretraining.Config, steps: int, rate: float
) -> tuple[list[dict[str, float]], list[list[float]], Pretraining]:
    """A training on `topics`: the metrics of every step, and the norm of every encoder layer's gradient in it."""
    torch.manual_seed(0)
    system, optim = config.build(VOCAB), Adam(lr=rate, warmup=20, betas=(0.9, 0.98))
    optimizer = optim.build(system)
    rows, norms = [], []
    for step in range(steps):
        optim.set_rate(optimizer, step, steps)
        system.before(step, 0)
        output = system(topics(step), torch.tensor(step / steps))
        output.loss.backward()
        layers = [
            [p.grad for p in layer.parameters() if p.grad is not None] for layer in cast(Bert, system.encoder).layers
        ]
        norms.append([sum(g.square().sum().item() for g in gradients) ** 0.5 for gradients in layers])
        optim.clip_gradients(system)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        system.after(step, output.metrics)
        rows.append(read(output.metrics))
    return rows, norms, system


@pytest.mark.slow
def test_deeper_exits_are_harder_to_see_through() -> None:
    """The paper's figure 4: the deeper the exit that made the replacements, the lower the accuracy on held-out text."""
    corruptor = EarlyExit.Config(width=0.5, exits=(1, 2, 3, 4))
    _, _, system = learn(System.Config(SHALLOW, corruptor, Rtd.Config(), weight=50.0), 240, 2e-3)
    assert isinstance(system, System) and isinstance(system.corruptor, EarlyExit)
    accuracy = []
    for system.corruptor.choice.now in range(4):
        total: Metrics | None = None
        with torch.no_grad():
            for number in range(16):
                total = add(total, system(topics(1_000_000 + number), torch.ones(())).metrics)
        accuracy.append(read(total or {})["rtd_accuracy"])
    assert accuracy == sorted(accuracy)[::-1] and accuracy[0] - accuracy[3] > 0.01, accuracy


@pytest.mark.slow
def test_late_layers_get_less_training_and_sharing_makes_up_for_it() -> None:
    """The paper's finding on Early-Exit (Disc), and its remedy (sections 2 and 4), by gradients and by operations."""
    sections = replace(DISCRIMINATOR, encoder=SHALLOW, every=10, measured=1, weight=10.0)
    rows, norms, _ = learn(replace(sections, corruptor=Joint.Config(width=0.5)), 60, 2e-3)
    exits = np.array([row["encoder_layers"] for row in rows])
    assert (exits[::10] == 4).all() and len(set(exits)) > 1 and exits.mean() < 3.5, exits
    trained = (np.array(norms) > 0).mean(0)
    assert trained.tolist() == [(exits >= layer).mean() for layer in range(1, 5)]
    assert trained[0] == 1.0 and trained[3] < 0.5
    amount = np.array(norms)[20:].mean(0)
    assert amount[3] < 0.5 * amount[0], amount
    assert [row["encoder_saved"] for row in rows] == pytest.approx((1 - exits / 4).tolist())
    # As published: the generator's loss trains the late layers in every step.
    shared, shared_norms, _ = learn(sections, 60, 2e-3)
    assert min(row["encoder_layers"] for row in shared) < 4
    assert (np.array(shared_norms) > 0).all()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_recipes_leave_at_the_quarters_of_every_size(size: Size) -> None:
    layers = size.encoder.layers
    for run in (adaptive_early_exit(size), early_exit_discriminator(size)):
        exits = getattr(run.system, "exits", None) or run.system.corruptor.exits  # type: ignore[attr-defined]
        assert len(exits) == 4 and exits[3] == layers  # 22 layers have no whole quarters
        assert all(0 <= 4 * exits[n] - (n + 1) * layers + 2 <= 4 for n in range(4))
        assert run.steps == min(200_000, size.steps)
    rules = [adaptive_early_exit(size, rule).system.corruptor.rule for rule in get_args(Kind)]  # type: ignore[attr-defined]
    assert [rule.kind for rule in rules] == ["paper", "log-space", "set-point"]
    assert rules[0] == ExitRule("paper", alpha=0.1, start=(0.1, 0.2, 0.3, 0.4), every=100)


def test_what_cannot_be_used_is_refused() -> None:
    for exits in ((), (0, 1), (2, 1), (1, 1)):
        with pytest.raises(UserError, match="each larger than the one before"):
            EarlyExit.Config(exits=exits)
        with pytest.raises(UserError, match="each larger than the one before"):
            replace(DISCRIMINATOR, exits=exits)
    with pytest.raises(UserError, match="3 exits, but 4 probabilities"):
        EarlyExit.Config(exits=(1, 2, 3))
    for start in ((), (0.5, 0.6), (1.5, -0.5)):
        with pytest.raises(UserError, match="probabilities that sum to 1"):
            ExitRule(start=start)
    with pytest.raises(UserError, match="every is 0"):
        ExitRule(every=0)
    with pytest.raises(UserError, match="measured is 5; choose from 1 to every"):
        replace(DISCRIMINATOR, measured=5)
    with pytest.raises(UserError, match="must be the encoder's 4"):
        replace(DISCRIMINATOR, exits=(1, 2)).build(VOCAB)
    with pytest.raises(UserError, match="give it the objective rtd"):
        ExitChoice(ExitRule()).after(0, {})
