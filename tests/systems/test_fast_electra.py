"""Fast-ELECTRA: tempered samples against NumPy, curricula that really fall, a generator that costs a third."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from electrain import checkpoint, cli, train
from electrain.batch import Batch, select
from electrain.checkpoint import Saver
from electrain.corruptors.frozen import FALLING, Frozen
from electrain.corruptors.mask import Mask
from electrain.corruptors.masking import mask
from electrain.corruptors.unigram import Unigram
from electrain.curriculum import ONE, Kind, Schedule
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.flops import count
from electrain.metrics import read
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.recipes.electra import electra
from electrain.recipes.fast_electra import fast_electra, fast_electra_from_scratch, fast_electra_large
from electrain.recipes.sizes import BASE, LARGE, SMALL, TINY, Size
from electrain.run import Record, Run
from electrain.savings import joint, savings
from electrain.source import Source
from electrain.system import System
from electrain.train import pretrain
from electrain.vocab import Vocab
from tests import masked_lms
from tests.systems.kit import World, batch
from tests.training import ENCODER, VOCAB, last, make_data, metrics, one_thread, tiny, weights  # noqa: F401

FULL = Vocab(30522, pad=0, unk=100, cls=101, sep=102, mask=103, special=(0, 101, 102, 103))
KINDS: tuple[Kind, ...] = ("exponential", "linear", "polynomial", "cosine", "step", "constant")
AT = (0.0, 0.05, 0.15, 0.35, 0.6, 1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "data")


# Learns the text in seconds: a neighbour's number is nearly the token's own.
LEARNER = Bert.Config(
    layers=1, hidden=64, ffn=128, heads=4, embedding=64, positions=16,
    init="fan_in", position_start="sinusoid", attention_start="local",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(data: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Its masked LM has learnt something of the text."""
    out = tmp_path_factory.mktemp("generator") / "run"
    config = System.Config(LEARNER, Mask.Config(rate=0.3, masked=0.85, random=0.0), Mlm.Config())
    optim = Adam(lr=3e-3, warmup=40, betas=(0.9, 0.98))
    pretrain(tiny(config, steps=380, batch=16, optim=optim, log_every=50, eval_every=1000), data, out)
    trained = config.build(VOCAB)
    newest = checkpoint.latest(out, print)
    assert newest is not None and isinstance(trained.objective, Mlm)
    checkpoint.load_weights(trained, newest)
    network = EncoderLm.Config(LEARNER).build(VOCAB)
    network.encoder.load_state_dict(trained.encoder.state_dict())
    network.head.load_state_dict(trained.objective.head.state_dict())
    assert [line["mlm_accuracy"] for line in metrics(out) if line["kind"] == "train"][-1] > 0.4
    world = World()
    world.masked_lm = lambda _: network.eval().requires_grad_(False)  # type: ignore[method-assign]
    return world


def system(source: Source, **fields: object) -> System:
    config = System.Config(ENCODER, Frozen.Config(**fields), Rtd.Config()).resolve(source)  # type: ignore[arg-type]
    made = config.build(VOCAB)
    made.start(source)
    return made


def text(step: int) -> Batch:
    """Rows that walk up the vocabulary, as the data does."""
    given = batch(step, 64)
    random = np.random.default_rng(step)
    walk = 5 + (random.integers(0, 195, (64, 1)) + random.integers(0, 3, (64, 16)).cumsum(1)) % 195
    return given._replace(ids=torch.where(given.maskable, torch.from_numpy(walk), given.ids))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_tempered_softmax(temperature: float, source: World) -> None:
    """softmax(z / T) in NumPy: the chance to be right, and the mean log-probability of what is drawn."""
    made = system(source, rate=0.5, temperature=Schedule(start=temperature))
    right = expected = variance = drawn = negative = spread = 0.0
    for step in range(12):
        given = text(step)
        seen = made.corruptor(given, made.encoder, torch.tensor(0.0))
        picked = select(given, 0.5)
        masked = mask(given, picked, VOCAB, masked=0.85, random=0.0)
        z = source.masked_lm("").logits(masked, given, picked).double().numpy() / temperature
        p = np.exp(z - z.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        p = p[picked.valid.numpy()]
        truth, sampled = (ids.gather(1, picked.index)[picked.valid].numpy()[:, None] for ids in (given.ids, seen.ids))
        chance = np.take_along_axis(p, truth, -1)
        expected, variance = expected + chance.sum(), variance + (chance * (1 - chance)).sum()
        right += (sampled == truth).sum()
        log = np.log(p)
        mean = (p * log).sum(-1)
        drawn += np.take_along_axis(log, sampled, -1).sum()
        negative, spread = negative + mean.sum(), spread + ((p * log**2).sum(-1) - mean**2).sum()
    assert abs(right - expected) < 4 * math.sqrt(variance)
    assert abs(drawn - negative) < 4 * math.sqrt(spread)


@pytest.mark.parametrize("kind", KINDS)
def test_the_replaced_share_falls_with_the_temperature(kind: Kind, source: World) -> None:
    """Wild samples are seldom the token that stood there: T falls, and the share of replaced tokens with it."""
    schedule = FALLING if kind == "exponential" else Schedule(kind, 1.0 if kind == "constant" else 3.0, 1.0, span=0.5)
    made = system(source, rate=0.5, temperature=schedule)
    shares, temperatures = [], []
    for u in AT:
        numbers = []
        for step in range(6):
            seen = made.corruptor(text(step), made.encoder, torch.tensor(u))
            numbers.append(read(seen.metrics))
        shares.append(np.mean([number["replaced"] for number in numbers]))
        temperatures.append(numbers[0]["temperature"])
        assert temperatures[-1] == pytest.approx(schedule(torch.tensor(u)).item())
    # The same places and uniforms at every u: where T stays, nothing changes at all.
    for colder, fewer in zip(np.diff(temperatures), np.diff(shares), strict=True):
        assert fewer < 0 if colder < -0.05 else abs(fewer) < 0.005, (temperatures, shares)
    if kind == "constant":
        assert len(set(shares)) == 1
    else:
        assert shares[0] - shares[-1] > 0.02


@pytest.mark.slow
def test_a_training_shows_the_curve(data: Path, source: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log of a real run: temperature as the formula has it, the replaced share falling with it or staying."""
    monkeypatch.setattr(train, "Folders", lambda *_: source)
    found = {}
    for name, schedule in (("falling", Schedule("linear", 4.0, 1.0, span=0.5)), ("constant", ONE)):
        config = System.Config(ENCODER, Frozen.Config(rate=0.5, temperature=schedule), Rtd.Config())
        pretrain(tiny(config, steps=80, log_every=10, eval_every=1000), data, tmp_path / name)
        lines = [line for line in metrics(tmp_path / name) if line["kind"] == "train"]
        found[name] = np.array([line["replaced"] for line in lines])
        steps = np.arange(80).reshape(8, 10)
        wanted = np.mean([[schedule(torch.tensor(s / 80)).item() for s in row] for row in steps], axis=1)
        np.testing.assert_allclose([line["temperature"] for line in lines], wanted, rtol=1e-5)
    assert found["falling"][:2].mean() - found["falling"][-3:].mean() > 0.02
    assert abs(found["constant"][:2].mean() - found["constant"][-3:].mean()) < 0.02
    assert found["falling"][0] > found["constant"][0]


def test_nothing_is_dropped_kept_or_learnt_of_the_generator(source: World) -> None:
    """Its own sizes name dropout of 0.1, and the system trains: still it answers as in evaluation."""
    assert LEARNER.dropout == LEARNER.attention_dropout == 0.1
    made = system(source, rate=0.5).train()
    given = text(0)
    one = made.corruptor(given, made.encoder, torch.tensor(0.3))
    two = made.eval().corruptor(given, made.encoder, torch.tensor(0.3))  # type: ignore[arg-type]
    assert torch.equal(one.ids, two.ids)
    made.train()(given, torch.tensor(0.3)).loss.backward()
    optimizer = tiny().optim.build(made)
    theirs = {id(parameter) for parameter in made.corruptor.parameters()}
    assert theirs and not theirs & {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert all(parameter.grad is None for parameter in made.corruptor.parameters())
    assert one.loss.item() == 0.0 and not one.loss.requires_grad


def test_dropout_as_a_curriculum(source: World) -> None:
    """The more is dropped the more is replaced; at 0, and in evaluation, the generator is whole."""
    smooth = system(source, rate=0.5, temperature=ONE, dropout=Schedule("linear", 0.6, 0.0)).train()
    plain = system(source, rate=0.5, temperature=ONE)

    def run(made: System, u: float) -> tuple[Tensor, dict[str, float]]:
        seen = [made.corruptor(text(step), made.encoder, torch.tensor(u)) for step in range(6)]
        numbers = {name: sum(one.metrics[name] for one in seen) for name in seen[0].metrics}
        return torch.stack([one.ids for one in seen]), read(numbers)  # type: ignore[arg-type]

    whole = run(plain, 0.0)
    assert torch.equal(run(smooth, 1.0)[0], whole[0])
    start, middle = run(smooth, 0.0)[1], run(smooth, 0.5)[1]
    assert start["generator_dropout"] == pytest.approx(0.6) and middle["generator_dropout"] == pytest.approx(0.3)
    assert start["replaced"] > middle["replaced"] + 0.005 > whole[1]["replaced"] + 0.01
    assert torch.equal(run(smooth.eval(), 0.0)[0], whole[0])


def test_the_selection_rate_as_a_curriculum(source: World) -> None:
    """Of 14 tokens: round(14 * rate * share) valid places a row, in as many slots throughout."""
    made = system(source, temperature=ONE, rate=0.5, selection=Schedule("linear", 1.0, 0.25))
    for u, wanted in ((0.0, 7), (0.5, round(14 * 0.5 * 0.625)), (1.0, 2)):
        seen = made.corruptor(text(0), made.encoder, torch.tensor(u))
        assert seen.picked.index.shape == (64, 8) and (seen.picked.valid.sum(1) == wanted).all(), u
        assert read(seen.metrics)["selected"] == pytest.approx(wanted / 14)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": Schedule("linear", 1.0, 0.0)}, "temperature reaches 0"),
        ({"dropout": Schedule("linear", 1.0, 0.0)}, "dropout must stay from 0 to below 1"),
        ({"dropout": Schedule("linear", 0.5, -0.1)}, "dropout must stay"),
        ({"selection": Schedule("linear", 1.0, 0.0)}, "selection is a share of rate"),
        ({"selection": Schedule("linear", 2.0, 1.0)}, "selection is a share of rate"),
        ({"rate": 0.0}, "rate is 0"),
    ],
)
def test_bad_settings_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Frozen.Config(**fields)


# --- what it saves


def narrow(size: Size) -> Run:
    """A frozen generator of the size's joint one."""
    run = fast_electra(size)
    assert isinstance(run.system, System.Config) and isinstance(run.system.corruptor, Frozen.Config)
    generator = EncoderLm.Config(size.encoder.scaled(size.width, size.depth))
    return replace(run, system=replace(run.system, corruptor=replace(run.system.corruptor, generator=generator)))


@pytest.mark.parametrize(
    ("run", "wanted"),
    [(fast_electra(BASE), 0.82), (fast_electra_large(), 0.86), (narrow(SMALL), 0.92)],
    ids=["base", "large", "small"],
)
def test_operations_saved_are_those_counted_by_hand(run: Run, wanted: float) -> None:
    """Frozen divided by joint with the same generator, look-ups free; the generator itself costs a third."""
    frozen, trained = count(run).plain, count(joint(run)).plain
    total = {name: sum(part.step for part in cost.values()) for name, cost in (("f", frozen), ("j", trained))}
    assert total["f"] / total["j"] == pytest.approx(wanted, abs=0.02)
    own = [sum(part.step for name, part in cost.items() if "generator" in name) for cost in (frozen, trained)]
    assert own[0] / own[1] == pytest.approx(1 / 3, rel=1e-9)


def test_the_joint_baseline_is_electra() -> None:
    one, other = joint(narrow(SMALL)), electra(SMALL)
    assert replace(one, recipe="electra") == other
    with pytest.raises(UserError, match="no frozen generator of our own encoder"):
        joint(electra(SMALL))
    with pytest.raises(UserError, match="no frozen generator"):
        joint(SMALL.run("x", System.Config(SMALL.encoder, Unigram.Config(), Rtd.Config())))


@pytest.mark.slow
@pytest.mark.parametrize(("run", "wanted"), [(fast_electra(BASE), 0.82), (narrow(SMALL), 0.92)], ids=["base", "small"])
def test_memory_saved_is_measured(run: Run, wanted: float) -> None:
    """Of a step with the whole batch at its peak; what the generator would keep for its backward pass is gone."""
    found = savings(run, FULL)
    assert found.operations == pytest.approx(wanted, abs=0.02) and found.generator == pytest.approx(1 / 3)
    assert 0.6 < found.memory < 0.9 and 0.6 < found.kept < 0.9


def test_sizes_of_the_auxiliary() -> None:
    for run, layers in ((fast_electra(), 4), (fast_electra_large(), 6)):
        assert isinstance(run.system, System.Config) and isinstance(run.system.corruptor, Frozen.Config)
        generator = run.system.corruptor.generator
        assert isinstance(generator, EncoderLm.Config)
        assert generator.encoder == replace(run.system.encoder, layers=layers)  # type: ignore[type-var]
    large = fast_electra_large()
    assert replace(large, recipe="fast_electra") == fast_electra(LARGE)


# --- from the command line

SHRUNK = [
    "--size",
    "tiny",
    "--batch",
    "8",
    "--length",
    "16",
    "--eval-rows",
    "8",
    "--log-every",
    "2",
    "--save-every",
    "4",
    "--optim.warmup",
    "2",
    "--compute.compile",
    "False",
    "--compute.device",
    "cpu",
    "--compute.dtype",
    "float32",
    "--compute.threads",
    "1",
]
FIRST = [word.replace("--", "--first.") for word in SHRUNK[2:]]


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code: object = 0
    capsys.readouterr()
    try:
        cli.main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code or 0
    said = capsys.readouterr()
    assert isinstance(code, int)
    return code, said.err + said.out


def test_from_scratch_by_one_command_and_on_from_either_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = masked_lms.data(tmp_path / "data")

    def go(out: Path) -> tuple[int, str]:
        both = [*SHRUNK, "--steps", 8, *FIRST, "--first.steps", 6]
        return command(capsys, "pretrain", "fast_electra_from_scratch", "--data", folder, "--out", out, *both)

    code, said = go(tmp_path / "whole")
    assert code == 0, said
    assert said.index("first stage: ") < said.index("second stage: ") < said.index("frozen generator from the first")
    one = weights(last(tmp_path / "whole" / "first"))
    two = weights(last(tmp_path / "whole"))
    same = [name for name in two if name.startswith("model: corruptor.generator.encoder")]
    assert same and all(torch.equal(two[n], one[n.replace("corruptor.generator.encoder", "encoder")]) for n in same)
    save = Saver.save

    for stage, stop in (("first", 4), ("second", 4)):
        out = tmp_path / "cut"

        def save_and_stop(self: Saver, step: int, *rest: Any, stage: str = stage, stop: int = stop) -> Path:
            path = save(self, step, *rest)
            if step == stop and (self.run.name == "first") == (stage == "first"):
                self.wait()
                raise KeyboardInterrupt
            return path

        with monkeypatch.context() as patch:
            patch.setattr(Saver, "save", save_and_stop)
            assert go(out)[0] == 130
    code, said = go(out)
    assert code == 0 and "going on from" in said, said
    again = weights(last(out))
    assert again.keys() == two.keys() and all(torch.equal(again[name], two[name]) for name in two)
    assert metrics(out) == metrics(tmp_path / "whole")


def test_a_source_is_a_run_of_ours_or_a_folder_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = masked_lms.data(tmp_path / "data")
    bert = ["pretrain", "bert_tiny", "--data", folder, "--out", tmp_path / "bert", *SHRUNK[2:], "--steps", 4]
    assert command(capsys, *bert)[0] == 0
    theirs = masked_lms.saved(masked_lms.distilbert(), tmp_path / "distilbert")

    def go(recipe: str, *more: object) -> tuple[int, str]:
        out = tmp_path / f"{recipe}{len(list(tmp_path.iterdir()))}"
        code, said = command(capsys, "pretrain", recipe, "--data", folder, "--out", out, *SHRUNK, "--steps", 4, *more)
        assert (out / "run.json").exists() == (code == 0)
        return code, said

    for place in (tmp_path / "bert", theirs):
        code, said = go("fast_electra", "--system.corruptor.source", place)
        assert code == 0 and f"frozen generator from {place}" in said, said
    code, said = go("fast_electra_hybrid", "--system.corruptor.second.source", tmp_path / "bert")
    assert code == 0, said

    other = masked_lms.saved(
        masked_lms.bert(), tmp_path / "other", [*masked_lms.WORDS[:50], "odd", *masked_lms.WORDS[51:]]
    )
    for recipe, words, message in (
        ("fast_electra", (), "name the frozen generator with --system.corruptor.source"),
        ("fast_electra", ("--system.corruptor.source", tmp_path / "absent"), "no model could be found there"),
        ("fast_electra", ("--system.corruptor.source", folder), "no model could be found there"),
        ("fast_electra", ("--system.corruptor.source", other), "token 50 is 'odd' there and 'w50' in the data"),
        ("fast_electra_dropout", ("--system.corruptor.source", theirs), "dropout cannot be set"),
    ):
        code, said = go(recipe, *words)
        assert code == 2 and said.count("\n") == 1 and message in said, said


def test_a_run_that_trained_no_masked_lm_is_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = masked_lms.data(tmp_path / "data")
    base = ["--data", folder, *SHRUNK, "--steps", 2]
    assert command(capsys, "pretrain", "electra_unigram", *base, "--out", tmp_path / "one")[0] == 0
    numbers = json.loads((tmp_path / "one" / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 < numbers["replaced"] < 0.2 and "temperature" in numbers
    code, said = command(
        capsys,
        "pretrain",
        "fast_electra",
        *base,
        "--out",
        tmp_path / "two",
        "--system.corruptor.source",
        tmp_path / "one",
    )
    assert code == 2 and "trained no masked language model" in said and said.count("\n") == 1, said


def test_from_scratch_names_its_stages() -> None:
    run = fast_electra_from_scratch(TINY)
    assert run.first is not None and run.first.steps == TINY.steps // 4 and run.first.system.encoder == TINY.generator()
    assert Record(run, "", "", "", {}, "").run.first == run.first
