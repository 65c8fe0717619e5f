"""The loop: what it says, when it saves, how it ends, and what it refuses. Resume after a kill: test_resume.py."""

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from electrain import checkpoint, train
from electrain.compute import Compute
from electrain.data.loader import Loader
from electrain.data.manifest import Manifest
from electrain.data.shards import Shards
from electrain.encoders.bert import Bert
from electrain.errors import Stopped, UserError
from electrain.hub.source import Folders
from electrain.loading import held_out
from electrain.optim.adam import Adam
from electrain.run import Record, Run, identity
from electrain.system import System
from electrain.train import pretrain
from tests.training import (
    BERT,
    ELECTRA,
    PAIRS,
    VOCAB,
    assert_same,
    at_step,
    last,
    make_data,
    metrics,
    one_thread,  # noqa: F401 - a fixture
    strike,
    tiny,
    weights,
)

RUN = tiny(steps=40, save_every=10, eval_every=15)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("train") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUN from its first step to its last, never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert pretrain(RUN, data, out, "the command") == out / "checkpoints" / "step-000040"
    return out


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def patched(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Any], None]) -> None:
    monkeypatch.setattr(Adam, "set_rate", at_step(number, act))


def test_a_run_leaves_what_it_says(whole: Path, data: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "run.json",
        "metrics.jsonl",
        "samples.jsonl",
        "checkpoints",
        "tokenizer",
    }
    assert (whole / "tokenizer" / "tokenizer.json").read_text() == "{}"
    record = Record.load(whole)
    assert (record.run, record.data, record.command) == (RUN, str(data), "the command")
    assert record.versions["torch"] == torch.__version__ and "thread" in record.machine
    lines = metrics(whole, without=())
    assert [(line["step"], line["kind"]) for line in lines] == [
        *((7, "train"), (14, "train"), (15, "eval"), (21, "train"), (28, "train"), (30, "eval"), (35, "train")),
        *((40, "train"), (40, "eval")),
    ]
    measured = {"loss", "mlm_loss", "mlm_accuracy", "generator_entropy", "replaced", "sampled_right"}
    measured |= {"rtd_loss", "rtd_accuracy", "rtd_majority", "rtd_recall", "rtd_auc"}
    assert lines[2].keys() == {"step", "kind"} | measured
    assert lines[0].keys() == lines[2].keys() | {"lr", "grad_norm", "tokens_per_second", "data_wait", "memory"}
    assert lines[0]["lr"] == RUN.optim.rate(6, 40) and lines[0]["tokens_per_second"] > 0
    assert lines[0]["loss"] == pytest.approx(lines[0]["mlm_loss"] + 50 * lines[0]["rtd_loss"], rel=1e-4)
    assert lines[-2]["loss"] < lines[0]["loss"] - 5  # it learns


def test_the_last_and_the_best_are_kept(whole: Path) -> None:
    held_out = {line["step"]: line["loss"] for line in metrics(whole) if line["kind"] == "eval"}
    best = min(held_out, key=held_out.__getitem__)
    kept = {int(path.name[5:]) for path in (whole / "checkpoints").glob("step-*")}
    assert kept == {30, 40, best}
    assert train.checkpoint.best(whole, pytest.fail) == whole / "checkpoints" / f"step-{best:06d}"


def test_progress_where_there_is_no_terminal(data: Path, tmp_path: Path, capsys: Capture) -> None:
    pretrain(RUN, data, tmp_path / "run")
    out, err = capsys.readouterr()
    assert out == "" and "\x1b" not in err and "\r" not in err
    lines = [line for line in err.splitlines() if re.match(r"step \d+/40 ", line)]
    form = (
        r"step {}/40  loss \d+\.\d{{3}}  [\d,]+ tok/s  mlm \d\.\d\d  acc \d+\.\d%  rtd \d\.\d{{3}}  "
        r"replaced \d+\.\d%  auc 0\.\d{{3}}  lr \d\.\de-\d\d  left 0:0\d:\d\d"
    )
    assert len(lines) == 2  # one a minute, and the last
    for line, step in zip(lines, (7, 40), strict=True):
        assert re.fullmatch(form.format(step), line), line
    assert err.count("held out: loss ") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on(
    number: int, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    out, handlers = tmp_path / "run", [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        patched(patch, 12, strike(number))
        with pytest.raises(Stopped) as stopped:
            pretrain(RUN, data, out)
    assert stopped.value.number == number
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    saved = out / "checkpoints" / "step-000013"  # the step in progress was finished
    assert f"stopped at step 13, saved in {saved}; the same command goes on from there" in capsys.readouterr().err
    pretrain(RUN, data, out)
    assert f"going on from {saved}" in capsys.readouterr().err
    assert_same(whole, out)


def test_a_run_goes_on_elsewhere_and_says_where_its_number_format_changes(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    out = tmp_path / "run"
    for stop, compute, warned in (
        (12, RUN.compute, False),
        (5, replace(RUN.compute, threads=2, device="auto" if not torch.cuda.is_available() else "cpu"), False),
        (5, replace(RUN.compute, dtype="bfloat16"), True),
        (None, replace(RUN.compute, dtype="bfloat16", threads=2), False),
    ):
        run = replace(RUN, compute=compute)
        with monkeypatch.context() as patch:
            if stop is None:
                pretrain(run, data, out)
            else:
                patched(patch, stop, strike(signal.SIGTERM))
                with pytest.raises(Stopped):
                    pretrain(run, data, out)
        said = capsys.readouterr().err
        told = "warning: until there it computed in float32, and does in bfloat16 from there"
        assert (told in said) == warned and ("computed in" in said) == warned
    one, other = metrics(whole), metrics(out)
    assert [line["step"] for line in one] == [line["step"] for line in other]
    assert other[-1]["loss"] == pytest.approx(one[-1]["loss"], rel=0.02) and other[-1]["loss"] != one[-1]["loss"]


def test_a_version_with_more_fields_goes_on_with_a_run(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A field more changes the digest of a run's fields: what names the run is the digest from when it began."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("electrain.start.identity", lambda run, data_sha256: "what it was called then")
        patched(patch, 12, strike(signal.SIGTERM))
        with pytest.raises(Stopped):
            pretrain(RUN, data, out)
    capsys.readouterr()
    pretrain(RUN, data, out)
    assert f"going on from {out / 'checkpoints' / 'step-000013'}" in capsys.readouterr().err
    one, other = weights(last(whole)), weights(last(out))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    # Not so in a run that began as another: the checkpoint is not of that one.
    record = Record.load(out)
    assert record.of == "what it was called then"
    replace(record, of=identity(RUN, record.data_sha256)).save(out)
    with pytest.raises(UserError, match="none of its checkpoints is whole"):
        pretrain(RUN, data, out)
    assert "it is of another run" in capsys.readouterr().err


def test_a_second_ctrl_c_interrupts_at_once(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patched(patch, 12, strike(signal.SIGINT, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            pretrain(RUN, data, tmp_path / "run")
    assert last(tmp_path / "run").name == "step-000010"
    pretrain(RUN, data, tmp_path / "run")
    assert_same(whole, tmp_path / "run")


def test_a_signal_in_the_last_step_is_too_late(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch, 39, strike(signal.SIGTERM))
    assert pretrain(RUN, data, tmp_path / "run").name == "step-000040"


def test_a_run_that_is_done_is_left_alone(data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    before = snapshot(tmp_path / "run")
    assert pretrain(RUN, data, tmp_path / "run") == tmp_path / "run" / "checkpoints" / "step-000040"
    assert snapshot(tmp_path / "run") == before


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patched(patch, 25, strike(signal.SIGINT))
        with pytest.raises(Stopped):
            pretrain(replace(RUN, keep=5), data, out)
    for step in (20, 26):
        (out / "checkpoints" / f"step-{step:06d}" / "model.safetensors").write_bytes(b"")
    with (out / "metrics.jsonl").open("a") as log:
        log.write('{"step": 28, "kind": "tra')  # and the last line is torn
    capsys.readouterr()
    # Stopped again before step 20: the damaged ones must not have displaced the good ones meanwhile.
    with monkeypatch.context() as patch:
        patched(patch, 1, strike(signal.SIGINT))
        with pytest.raises(Stopped):
            pretrain(RUN, data, out)
    err = capsys.readouterr().err
    assert "step-000026: damaged" in err and "step-000020: damaged" in err
    assert f"going on from {out / 'checkpoints' / 'step-000015'}" in err
    assert [path.name for path in sorted((out / "checkpoints").glob("step-*"))] == ["step-000015", "step-000017"]
    pretrain(RUN, data, out)
    assert_same(whole, out)


def test_no_whole_checkpoint_is_no_fresh_start(data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").glob("step-*"):
        (path / "state.json").unlink()
    before = snapshot(tmp_path / "run")
    with pytest.raises(UserError, match="none of its checkpoints is whole"):
        pretrain(RUN, data, tmp_path / "run")
    assert snapshot(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (replace(RUN, seed=1), "seed: 0 -> 1"),
        (replace(RUN, steps=41, batch=4), "steps: 40 -> 41; batch: 8 -> 4"),
        (replace(RUN, optim=replace(RUN.optim, lr=0.5)), "optim.lr: 0.002 -> 0.5"),
        (
            replace(RUN, packing=PAIRS),
            "packing: Full.Config(documents='together') -> Pairs.Config(single=0.1, short=0.05)",
        ),
        (replace(RUN, system=replace(ELECTRA, weight=1.0)), "system.weight: 50.0 -> 1.0"),
    ],
)
def test_other_settings_are_refused(change: Run, named: str, data: Path, whole: Path) -> None:
    before = snapshot(whole)
    with pytest.raises(UserError, match="holds a run with other settings") as error:
        pretrain(change, data, whole)
    assert named in str(error.value) and len(str(error.value).splitlines()) == 1
    assert snapshot(whole) == before


def test_other_data_is_refused_and_the_same_elsewhere_is_not(whole: Path, tmp_path: Path) -> None:
    before = snapshot(whole)
    other = make_data(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=r"was trained on .*which .*other does not hold"):
        pretrain(RUN, other, whole)
    same = make_data(tmp_path / "same")
    assert pretrain(RUN, same, whole) == last(whole)
    assert snapshot(whole) == before


def test_what_only_decides_how_often_it_speaks_may_change(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patched(patch, 12, strike(signal.SIGINT))
        with pytest.raises(Stopped):
            pretrain(RUN, data, tmp_path / "run")
    changed = replace(RUN, recipe="x", log_every=3, eval_every=9, eval_rows=5, save_every=4, save_minutes=1e-9, keep=9)
    pretrain(changed, data, tmp_path / "run")
    one, other = weights(last(whole)), weights(last(tmp_path / "run"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    steps = [int(path.name[5:]) for path in sorted((tmp_path / "run" / "checkpoints").glob("step-*"))]
    assert steps[-9:] == list(range(32, 41))  # by the minute: every step


def test_a_folder_that_holds_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    for name in ("notes.txt", "checkpoints/step-000001/model.safetensors", "tokenizer/tokenizer.json"):
        out = tmp_path / name.split("/")[0]
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        with pytest.raises(UserError, match="holds other files; choose an empty or a new folder"):
            pretrain(RUN, data, out)
        assert list(snapshot(out).values()) == [b"mine"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        pretrain(RUN, data, tmp_path / "file")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"name": "of another program"}')
    with pytest.raises(UserError, match=r"run\.json: not a run of electrain"):
        pretrain(RUN, data, tmp_path / "foreign")
    assert list(snapshot(tmp_path / "foreign").values()) == [b'{"name": "of another program"}']


def test_bad_input_leaves_no_folder(data: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(data, tmp_path / "bare")
    shutil.rmtree(bare / "tokenizer")
    little = replace(RUN, length=2000, system=replace(ELECTRA, encoder=replace(ELECTRA.encoder, positions=2000)))
    for run, where, reason in (
        (RUN, tmp_path / "nowhere", "nowhere"),
        (RUN, bare, "the data folder is not whole"),
        (little, data, r"the validation split holds \d+ tokens.*; prepare with a larger --validation"),
        (replace(RUN, length=2), data, "choose a length of at least 3"),
        (replace(RUN, compute=Compute(device="cuda")), data, "torch finds no GPU"),
    ):
        if run.compute.device == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(UserError, match=reason):
            pretrain(run, where, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_data_without_held_out_text_is_trained_on_without_evaluations(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data, out = make_data(tmp_path / "data"), tmp_path / "run"
    replace(Manifest.load(data), validation=()).save(data)
    with monkeypatch.context() as patch:
        patched(patch, 32, strike(signal.SIGTERM))  # after two evaluations would have been made
        with pytest.raises(Stopped):
            pretrain(RUN, data, out)
    assert f"{data}: no text is held out there" in capsys.readouterr().err
    assert pretrain(RUN, data, out) == last(out)
    assert {line["kind"] for line in metrics(out)} == {"train"}
    one, other = weights(last(whole)), weights(last(out))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert checkpoint.best(out, print) == last(out)


def test_a_start_that_failed_leaves_the_folder_free(data: Path, tmp_path: Path) -> None:
    def fill(system: System) -> str:
        raise UserError("no such model")

    with pytest.raises(UserError, match="no such model"):
        pretrain(replace(RUN, length=8), data, tmp_path / "run", fill=fill)
    pretrain(replace(RUN, steps=1), data, tmp_path / "run")
    assert Record.load(tmp_path / "run").run.length == 16


def poison(optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        optimizer.param_groups[0]["params"][0][0, 0] = torch.nan


def explode(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0]["params"][0].register_hook(lambda gradient: gradient * torch.inf)


@pytest.mark.parametrize(("act", "what"), [(poison, "loss"), (explode, "gradient")])
def test_a_number_that_is_not_finite_stops_at_once(
    act: Callable[[Any], None], what: str, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = tmp_path / "run", []
    step = torch.optim.AdamW.step
    with monkeypatch.context() as patch:
        patched(patch, 23, act)
        patch.setattr(torch.optim.AdamW, "step", lambda *args: (made.append(1), step(*args))[1])
        with pytest.raises(
            UserError, match=f"^step 24: the {what} is not finite; the last good checkpoint is "
        ) as error:
            pretrain(RUN, data, out)
    assert f"{last(out)}." in str(error.value) and last(out).name == "step-000020"
    assert len(made) == 23  # no update was made with it
    assert all(tensor.isfinite().all() for tensor in weights(last(out)).values())
    pretrain(RUN, data, out)
    assert_same(whole, out)


def test_weights_that_overflow_are_never_saved(data: Path, tmp_path: Path) -> None:
    run = replace(RUN, optim=Adam(lr=1e38, warmup=0), save_every=1)
    with pytest.raises(UserError, match="step 1: the norm of the weights is not finite; no checkpoint was made yet"):
        pretrain(run, data, tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def gradients(system: System, loader: Loader) -> tuple[float, dict[str, Tensor], list[Tensor]]:
    system.zero_grad()
    batches = loader.step(3)
    loss = 0.0
    for batch in batches:
        part = system(batch, torch.tensor(0.0)).loss / len(batches)
        part.backward()
        loss += part.item()
    whole = [torch.cat(parts) for parts in zip(*(batch[:5] for batch in batches), strict=True)]
    return loss, {name: p.grad for name, p in system.named_parameters() if p.grad is not None}, whole


@pytest.mark.parametrize("config", [ELECTRA, BERT], ids=["electra", "bert"])
def test_micro_batches_sum_to_the_batch(config: System.Config, data: Path) -> None:
    torch.manual_seed(0)
    shards, system = Shards.open(data), config.build(VOCAB)
    packing = RUN.packing.build(shards, 16)
    loss, wanted, rows = gradients(system, Loader(packing, VOCAB, batch=8, seed=0))
    for accumulate in (2, 4):
        split, found, others = gradients(system, Loader(packing, VOCAB, batch=8, seed=0, accumulate=accumulate))
        assert all(torch.equal(a, b) for a, b in zip(rows, others, strict=True))  # the same rows, places and draws
        assert split == pytest.approx(loss, rel=1e-5)
        assert found.keys() == wanted.keys() and len(found) > 20
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-5 * wanted[name].abs().max().item())


def test_accumulating_changes_nothing_but_rounding(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched(monkeypatch, 13, strike(signal.SIGINT))
    with pytest.raises(Stopped):
        pretrain(replace(RUN, accumulate=4), data, tmp_path / "run")
    for one, other in zip(metrics(whole)[:2], metrics(tmp_path / "run")[:2], strict=True):
        assert one.keys() == other.keys() and one.pop("kind") == other.pop("kind")
        assert one == pytest.approx(other, rel=1e-3)


def test_an_evaluation_repeats_itself_and_changes_nothing(data: Path) -> None:
    system = ELECTRA.build(VOCAB)
    before = {name: tensor.clone() for name, tensor in system.state_dict().items()}
    shards = Shards.open(data, "validation")
    loader = held_out(RUN, shards, Folders(data))
    one, two = (train.evaluate(system, loader, RUN, torch.float32, torch.device("cpu"), 0.5) for _ in range(2))
    assert one == two and system.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in system.state_dict().items())
    assert all(parameter.grad is None for parameter in system.parameters())


def test_first_weights_come_from_elsewhere_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    seen: list[float] = []

    def fill(system: System) -> str:
        torch.nn.init.constant_(system.encoder.tokens.weight, 0.25)
        return "filled"

    run = replace(RUN, steps=2)
    with monkeypatch.context() as patch:
        patched(patch, 0, lambda _: (seen.append(1.0), strike(signal.SIGINT)(_))[1])
        with pytest.raises(Stopped):
            pretrain(run, data, tmp_path / "run", fill=fill)
    assert weights(last(tmp_path / "run"))["model: encoder.embeddings.tokens.weight"].mean() > 0.2
    assert "--start-from" not in capsys.readouterr().err
    pretrain(run, data, tmp_path / "run", fill=lambda system: pytest.fail("a run that goes on has its weights"))
    assert "it keeps its weights: --start-from" in capsys.readouterr().err


def test_what_is_tied_stays_tied(data: Path, whole: Path, tmp_path: Path) -> None:
    """Through steps, a save and a load: one table, once in the file, and the same numbers under both names."""
    system = ELECTRA.build(VOCAB)
    train.checkpoint.load_weights(system, last(whole))
    generator = system.corruptor.generator.encoder  # type: ignore[union-attr]
    assert isinstance(generator, Bert)
    assert generator.tokens.weight is system.encoder.tokens.weight
    assert generator.tokens.weight.data_ptr() == system.encoder.tokens.weight.data_ptr()
    tables = [key for key, tensor in weights(last(whole)).items() if tensor.shape == (200, 16)]
    moments = ("exp_avg", "exp_avg_sq")
    table = "encoder.embeddings.tokens.weight"
    assert sorted(tables) == sorted([f"model: {table}", *(f"optimizer: {table}.{moment}" for moment in moments)])
    before = generator.tokens.weight.detach().clone()
    optimizer = RUN.optim.build(system)
    (batch,) = Loader(RUN.packing.build(Shards.open(data), 16), VOCAB, batch=8, seed=0).step(0)
    system(batch, torch.tensor(0.0)).loss.backward()
    optimizer.step()
    assert generator.tokens.weight is system.encoder.tokens.weight and not torch.equal(generator.tokens.weight, before)
