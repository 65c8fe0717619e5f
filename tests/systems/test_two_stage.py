"""Two stages by one command: what the second takes from the first, what interrupts them, and why it is taken."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from electrain.batch import Batch
from electrain.cli import main
from electrain.corruptors.frozen import Frozen
from electrain.corruptors.mask import Mask
from electrain.curriculum import Schedule
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.flops import EARLIER, count, describe
from electrain.metrics import Metrics, add, read
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.recipes.sizes import TINY
from electrain.recipes.two_stage import electra_two_stage, electra_two_stage_fresh
from electrain.run import Record, Run
from electrain.source import Source
from electrain.system import System
from electrain.train import pretrain
from electrain.vocab import Vocab
from tests.systems.kit import World
from tests.training import (
    ENCODER,
    assert_same,
    finish,
    last,
    make_data,
    one_thread,  # noqa: F401 - a fixture
    process,
    tiny,
    with_tokenizer,
)

pytestmark = pytest.mark.usefixtures("unchecked")

SIZES = replace(ENCODER, dropout=0.0, attention_dropout=0.0, init="fan_in")
MASKED_LM = System.Config(SIZES, Mask.Config(masked=0.85, random=0.0), Mlm.Config())
FROZEN = Frozen.Config(temperature=Schedule(), encoder_start="generator")
STEPS = 12


def run_of(corruptor: Frozen.Config = FROZEN, **fields: object) -> Run:
    """Twelve steps each; the second stage logs before it saves."""
    first = tiny(MASKED_LM, steps=STEPS, log_every=2, save_every=4)
    second = tiny(System.Config(SIZES, corruptor, Rtd.Config()), steps=STEPS, log_every=2, save_every=5, first=first)
    return replace(second, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(make_data(tmp_path_factory.mktemp("data") / "data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages, never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(process(run_of(), data, out))
    return out


def test_the_second_stage_starts_from_the_firsts_network(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoder and frozen generator are it, the head is fresh; at the end the encoder has moved, the generator not."""
    begun: dict[str, torch.Tensor] = {}
    start = System.start

    def start_and_look(self: System, source: Source) -> str:
        said = start(self, source)
        begun.update({name: tensor.clone() for name, tensor in self.state_dict().items()})
        return said

    shutil.copytree(whole / "first", tmp_path / "run" / "first")
    monkeypatch.setattr(System, "start", start_and_look)
    pretrain(run_of(), data, tmp_path / "run")
    first = load_file(last(whole / "first") / "model.safetensors")
    ended = load_file(last(tmp_path / "run") / "model.safetensors")
    theirs = {name: tensor for name, tensor in first.items() if name.startswith("encoder.")}
    assert len(theirs) > 20
    for name, tensor in theirs.items():
        assert torch.equal(begun[name], tensor) and torch.equal(begun[f"corruptor.generator.{name}"], tensor)
        assert torch.equal(ended[f"corruptor.generator.{name}"], tensor)
        assert not torch.equal(ended[name], tensor), name
    for name in ("dense.weight", "norm.weight", "bias"):
        assert torch.equal(ended[f"corruptor.generator.head.{name}"], first[f"objective.head.{name}"])
    assert not torch.equal(begun["objective.head.dense.weight"], first["objective.head.dense.weight"][:, :32])


# The first stage, the second before its first checkpoint and after a line of its log, and the second after one.
@pytest.mark.parametrize("strike", [*(pytest.param(at, marks=pytest.mark.slow) for at in (7, STEPS + 8)), STEPS + 4])
def test_killed_and_gone_on_with_is_never_killed(data: Path, whole: Path, tmp_path: Path, strike: int) -> None:
    out = tmp_path / "run"
    finish(process(run_of(), data, out, strike, "SIGKILL"), -9)
    assert (out / "metrics.jsonl").exists() == (strike > STEPS)
    pretrain(run_of(), data, out)
    assert_same(whole, out)
    assert_same(whole / "first", out / "first")


def test_killed_between_the_stages(data: Path, whole: Path, tmp_path: Path) -> None:
    run = run_of()
    assert run.first is not None
    pretrain(run.first, data, tmp_path / "run" / "first")
    pretrain(run, data, tmp_path / "run")
    assert_same(whole, tmp_path / "run")


def test_run_json_holds_both_stages(data: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, record = run_of(), Record.load(whole)
    assert record.run.first == run.first == Record.load(whole / "first").run
    assert record.data_sha256 == Record.load(whole / "first").data_sha256
    assert run.first is not None
    pretrain(replace(run, first=replace(run.first, log_every=5)), data, whole)  # how often it speaks is free
    assert "nothing to do" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"first\.steps: 12 -> 13"):
        pretrain(replace(run, first=replace(run.first, steps=13)), data, whole)


def test_what_cannot_be_is_refused_before_the_first_stage(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        pretrain(run_of(), data, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("other", [{"heads": 1}, {"layers": 1}, {"ffn": 32}])
def test_only_a_network_of_its_own_size_can_be_started_from(
    data: Path, whole: Path, tmp_path: Path, other: dict[str, int]
) -> None:
    shutil.copytree(whole / "first", tmp_path / "run" / "first")
    run = run_of(system=System.Config(replace(SIZES, **other), FROZEN, Rtd.Config()))
    with pytest.raises(UserError, match="encoder's own sizes"):
        pretrain(run, data, tmp_path / "run")


WALKS = Vocab(size=42, pad=0, unk=0, cls=0, sep=0, mask=1, special=(0, 1))
WALKER = replace(SIZES, embedding=32, positions=12)


def walks(step: int) -> Batch:
    """32 rows that walk round 40 words in strides of one or of two: a masked word can be told from its neighbours."""
    random = torch.Generator().manual_seed(step)
    start, stride = (torch.randint(n, (32, 1), generator=random) for n in (40, 2))
    ids = 2 + (start + torch.arange(12) * (1 + stride)) % 40
    every = torch.ones_like(ids, dtype=torch.bool)
    return Batch(ids, torch.zeros_like(ids), every, every, row_keys(0, step, torch.arange(32)))


def fit(system: System, steps: int, lr: float) -> dict[str, float]:
    """Train on walks; metrics over the last 20 steps."""
    optimizer = torch.optim.Adam(system.parameters(), lr=lr)
    total: Metrics | None = None
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / 20)
        output = system(walks(step), torch.zeros(()))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        if step >= steps - 20:
            total = add(total, output.metrics)
    return read(total or {})


@pytest.mark.slow
def test_without_that_start_the_discriminator_stays_at_the_majority_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.2: it calls every token original, perhaps because the generator is so far ahead."""
    first = System(replace(MASKED_LM, encoder=WALKER), WALKS)
    assert fit(first, 200, 5e-3)["mlm_accuracy"] > 0.4, "the generator is not ahead"

    def trained(_self: World, _place: str) -> EncoderLm:
        network = EncoderLm.Config(WALKER).build(WALKS)
        network.encoder.load_state_dict(first.encoder.state_dict())
        network.head.load_state_dict(first.objective.head.state_dict())  # type: ignore[union-attr]
        return network

    monkeypatch.setattr(World, "masked_lm", trained)
    found = {}
    for start in ("generator", "fresh"):
        config = System.Config(WALKER, replace(FROZEN, encoder_start=start), Rtd.Config()).resolve(World())
        torch.manual_seed(1)
        system = config.build(WALKS)
        system.start(World())
        found[start] = fit(system, 400, 1e-3)
    above = {start: line["rtd_accuracy"] - line["rtd_majority"] for start, line in found.items()}
    assert abs(above["fresh"]) < 0.001, found
    assert above["generator"] > 0.01, found
    assert found["generator"]["rtd_auc"] > found["fresh"]["rtd_auc"] + 0.08, found


def test_the_cost_of_both_stages_is_counted() -> None:
    run = electra_two_stage(TINY)
    assert run.first is not None
    both, first, second = count(run), count(run.first), count(replace(run, first=None))
    assert both.plain_total.run == first.plain_total.run + second.plain_total.run
    assert both.paper_total.run == first.paper_total.run + second.paper_total.run
    assert both.plain_total[:2] == second.plain_total[:2]
    assert both.plain[EARLIER].run == first.plain_total.run > 0
    assert describe(run).renderables[0] == "First stage"


def test_the_variant_differs_in_its_start_alone() -> None:
    one, other = electra_two_stage(), electra_two_stage_fresh()
    named = replace(other, recipe=one.recipe, first=one.first)
    assert isinstance(other.system, System.Config) and isinstance(other.system.corruptor, Frozen.Config)
    corruptor = replace(other.system.corruptor, encoder_start="generator")
    assert replace(named, system=replace(other.system, corruptor=corruptor)) == one
    assert one.first is not None and replace(one.first, recipe=other.recipe) == other.first


def test_each_stage_has_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "electra_two_stage", "--help"])
    said = capsys.readouterr().out
    for option in ("--steps", "--first.steps", "--first.optim.lr", "--system.corruptor.encoder-start"):
        assert f"{option} " in said, option
    assert "first:" not in said and "--first.recipe" not in said and "--first.first" not in said
    asked: list[Run] = []
    monkeypatch.setattr("electrain.train.pretrain", lambda run, *_: asked.append(run) or tmp_path)
    words = ["--data", "d", "--out", "o", "--steps", "7", "--first.steps", "5", "--first.optim.lr", "0.001"]
    main(["pretrain", "electra_two_stage", *words])
    run = electra_two_stage()
    assert run.first is not None
    first = replace(run.first, steps=5, optim=replace(run.first.optim, lr=0.001))
    assert asked == [replace(run, steps=7, first=first)]
