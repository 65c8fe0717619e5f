"""The compiled step: one graph that is never compiled again, the eager step's numbers, and a way on where it fails."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._inductor import config as inductor
from torch.fx import GraphModule

from electrain.batch import Batch
from electrain.compute import Compute, Step, _keeping, casting, compiled, has_bfloat16
from electrain.cost import Work
from electrain.errors import UserError
from electrain.randomness import Stream, drop, dropout, dropped, row_keys
from electrain.system import System
from electrain.systems.base import Output, Pretraining
from electrain.train import pretrain
from tests.forked import Forked
from tests.training import (
    BERT,
    ELECTRA,
    VOCAB,
    last,
    make_data,
    metrics,
    one_thread,  # noqa: F401 - a fixture
    tiny,
    weights,
)

ONE_LAYER = replace(ELECTRA, encoder=replace(ELECTRA.encoder, layers=1))  # the one that test_resume.py compiles
CPU = torch.device("cpu")


@pytest.fixture
def kernels(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled is kept in pytest's own cache: the second time it takes seconds."""
    assert pytestconfig.cache
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(pytestconfig.cache.mkdir("kernels")))


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def batch(step: int) -> Batch:
    ids = torch.from_numpy((torch.arange(8 * 16).numpy() * (step + 7)) % 195 + 5).view(8, 16)
    ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
    real = torch.ones_like(ids, dtype=torch.bool)
    return Batch(
        ids, torch.zeros_like(ids), real, (ids != VOCAB.cls) & (ids != VOCAB.sep), row_keys(3, step, torch.arange(8))
    )


def gradients(system: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in system.parameters()]


@pytest.mark.parametrize("config", [ELECTRA, BERT], ids=["electra", "bert"])
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_the_step_is_one_graph_and_is_never_compiled_again(
    config: System.Config, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured by the compiler's front end alone; progress, learning rate and an evaluation between change nothing."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **how: compile(*args, **how, backend="aot_eager"))
    system = config.build(VOCAB)
    optimizer = tiny().optim.build(system)
    said: list[str] = []
    step = Step(system, dtype, compile=True, say=said.append)
    for number in range(4):
        optimizer.param_groups[0]["lr"] = 1e-3 * (number + 1)
        output = step(batch(number), torch.full((), number / 4))
        output.loss.backward()
        assert output.loss.dtype == torch.float32
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if number == 1:
            system.eval()
            with torch.no_grad():
                Step(system, dtype, compile=False, say=said.append)(batch(9), torch.full((), 0.5))
            system.train()
    assert len(said) == 2 and said[1].startswith("compiled in ")
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"], counters
    assert counters["aot_autograd"]["total"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_the_compiled_step_has_the_eager_step_s_numbers() -> None:
    torch.manual_seed(0)
    system = ONE_LAYER.build(VOCAB)
    # Weights that mean something: with fresh ones every token is as likely, and an error would not show.
    with torch.no_grad():
        for parameter in system.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    said: list[str] = []
    compiled, eager = (Step(system, torch.float32, compile=flag, say=said.append) for flag in (True, False))
    for number in range(3):
        outputs, found = [], []
        for step in (compiled, eager):
            system.zero_grad(set_to_none=True)
            output = step(batch(number), torch.full((), number / 3))
            output.loss.backward()
            outputs.append(output)
            found.append(gradients(system))
        one, other = outputs
        torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=0)
        # Counts are equal: the same places, the same sampled tokens. (Another would also change the loss by far more.)
        for name in ("replaced", "mlm_accuracy"):
            assert torch.equal(one.metrics[name], other.metrics[name]), name
        assert one.metrics["replaced"][0] > 5
        assert torch.equal(one.metrics["rtd_auc"].sum(1), other.metrics["rtd_auc"].sum(1))
        for a, b in zip(*found, strict=True):
            assert a is not None and b is not None
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())
    assert said[-1].startswith("compiled in ")
    assert system.corruptor.generator.encoder.tokens.weight is system.encoder.tokens.weight  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_the_next_start_finds_what_was_compiled() -> None:
    counters = torch._dynamo.utils.counters
    for rate in (0.1, 0.3):  # the code of dropout, a function of its own to the compiler, is part of the key
        for _ in range(2):
            torch._dynamo.reset()
            counters.clear()
            torch.manual_seed(0)
            system = replace(ONE_LAYER, encoder=replace(ONE_LAYER.encoder, dropout=rate)).build(VOCAB)
            said: list[str] = []
            compiled, eager = (Step(system, torch.float32, compile=flag, say=said.append) for flag in (True, False))
            one, other = (step(batch(0), torch.tensor(0.5)).loss for step in (compiled, eager))
            assert said[-1].startswith("compiled in "), said
            torch.testing.assert_close(one, other, rtol=1e-5, atol=0)
        assert counters["aot_autograd"]["autograd_cache_hit"] == 1
        assert counters["inductor"]["fxgraph_cache_miss"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_layers_share_their_compiled_loops() -> None:
    from torch._inductor.utils import run_fw_bw_and_get_code

    def loops(layers: int) -> int:
        torch._dynamo.reset()
        encoder = replace(ELECTRA.encoder, layers=layers).build(VOCAB)
        call = torch.compile(encoder, fullgraph=True, dynamic=False)
        given = batch(0)

        def run() -> Tensor:
            return call(given.ids, given.real, drop=drop(given.key, Stream.DISCRIMINATOR)).square().sum()

        with (
            torch._inductor.config.patch(fx_graph_cache=False),
            torch._functorch.config.patch(enable_autograd_cache=False),
        ):
            _, codes = run_fw_bw_and_get_code(run)
        return sum(code.count("async_compile.cpp_pybinding(") for code in codes)

    assert loops(4) == loops(3) > 5


def test_dropout_is_one_call_to_the_tracer() -> None:
    """And the graph that holds it is kept under the code of dropout."""
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, _: list[Tensor]) -> GraphModule:
        graphs.append(graph)
        return graph

    def twice(x: Tensor) -> Tensor:
        return dropout(dropout(x, 0.5, source, 3), 0.1, source, 4)

    x, source = torch.ones(8, 64), drop(batch(0).key, Stream.DISCRIMINATOR)
    assert torch.equal(torch.compile(twice, fullgraph=True, backend=backend)(x), twice(x))
    called = [node.target for node in graphs[0].graph.nodes if node.op == "call_function"]
    assert called == [dropped, dropped]
    before = inductor.unsafe_marked_cacheable_functions
    with _keeping():
        (ours,) = inductor.unsafe_marked_cacheable_functions.keys() - before.keys()
        assert ours == "electrain.randomness.dropped" and len(inductor.unsafe_marked_cacheable_functions[ours]) == 64
    assert inductor.unsafe_marked_cacheable_functions == before


class Counts(Pretraining):
    """A system with state of its own, as a running accuracy would be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def cost(self, length: int, vocab_size: int) -> tuple[Work, ...]:
        return ()

    def forward(self, batch: Batch, progress: Tensor) -> Output:
        self.calls += 1
        return Output(self.weight * progress, {})


def test_the_rehearsal_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    system = Counts()
    step = Step(system, torch.float32, compile=True, say=lambda line: None)
    system.weight.grad = torch.tensor(7.0)
    step(batch(0), torch.tensor(0.5))
    assert system.calls == 1 and system.weight.grad == 7.0  # type: ignore[comparison-overlap]
    system = ELECTRA.build(VOCAB)
    output = Step(system, torch.float32, compile=True, say=lambda line: None)(batch(0), torch.tensor(0.5))
    assert gradients(system) == [None] * len(list(system.parameters()))
    output.loss.backward()
    rehearsed = [gradient.clone() for gradient in gradients(system) if gradient is not None]
    system.zero_grad()
    system(batch(0), torch.tensor(0.5)).loss.backward()
    assert all(torch.equal(a, b) for a, b in zip(rehearsed, gradients(system), strict=True) if b is not None)


def backend_fails(*_: object) -> Exception:
    from torch._dynamo.exc import BackendCompilerFailed

    return BackendCompilerFailed("inductor", RuntimeError("the back end broke\nwith a long story\n"), None)


def code_fails(*_: object) -> Exception:
    from torch._inductor.exc import InductorError

    return InductorError(RuntimeError("no code"), None)


def disk_fails(*_: object) -> Exception:
    return PermissionError(13, "Permission denied", "/cache")


@pytest.mark.parametrize("failure", [backend_fails, code_fails, disk_fails])
@pytest.mark.parametrize("early", [True, False], ids=["at once", "at the call"])
def test_where_compiling_fails_one_line_says_so_and_the_run_goes_on(
    failure: Callable[[], Exception],
    early: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def compile(module: nn.Module, **_: object) -> Callable:
        def call(*_: object) -> Output:
            raise failure()

        if early:
            raise failure()
        return call

    monkeypatch.setattr(torch, "compile", compile)
    data, run = make_data(tmp_path / "data"), tiny(steps=10)
    pretrain(run, data, tmp_path / "eager")
    capsys.readouterr()
    pretrain(replace(run, compute=replace(run.compute, compile=True)), data, tmp_path / "failed")
    lines = [line for line in capsys.readouterr().err.splitlines() if "compiled" in line and "minute" not in line]
    assert len(lines) == 1 and lines[0].startswith("not compiled, the step runs slower but the same: ")
    one, other = (weights(last(tmp_path / name)) for name in ("eager", "failed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics(tmp_path / "eager") == metrics(tmp_path / "failed")


def test_a_machine_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing: the code is made, and no g++ is there to build it."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    said: list[str] = []
    system = replace(BERT, encoder=replace(BERT.encoder, layers=1)).build(VOCAB)
    with config.patch({"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}):
        Step(system, torch.float32, compile=True, say=said.append)(batch(0), torch.tensor(0.0)).loss.backward()
    assert len(said) == 2 and said[1].startswith("not compiled, the step runs slower but the same: ")
    assert len(said[1].splitlines()) == 1


def compile_one(said_in: str) -> None:
    """In a process of its own: nothing of the compiler's is in memory."""
    said: list[str] = []
    call = compiled(lambda x: x.sin() + 1, lambda call: call(torch.ones(8)), said.append)
    said.append("right" if call is not None and torch.equal(call(torch.zeros(8)), torch.ones(8)) else "wrong")
    Path(said_in).write_text("\n".join(said))


@pytest.mark.slow
def test_code_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    """What is left of a process that was killed while it compiled: a file that PyTorch trusts, and cannot load."""

    def once(name: str) -> list[str]:
        where = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
        running = Forked(compile_one, str(tmp_path / name), log=tmp_path / "log", environment=where)
        _, said = running.communicate()
        assert running.returncode == 0, said
        return (tmp_path / name).read_text().splitlines()

    assert [line.split()[0] for line in once("first")] == ["compiling", "compiled", "right"]
    (made,) = (tmp_path / "cache").rglob("*.main.so")
    whole = made.stat().st_size
    made.write_bytes(b"")
    for graphs in ("fxgraph", "aotautograd"):  # kept at the end of compiling, to which it never came
        shutil.rmtree(tmp_path / "cache" / graphs, ignore_errors=True)
    _, again, *rest = once("second")
    assert again == "compiled code was cut short when a run was stopped; it is made again"
    assert rest[0].startswith("compiled in ") and rest[1] == "right" and made.stat().st_size == whole


def test_device_and_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that it is put back afterwards, whatever happens to it here
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    assert Compute().start() == Compute(device="cpu", threads=1).start() == CPU
    assert torch.get_num_threads() == 1
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "electrain" / "compiled")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made there
    Compute().start()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ
    with pytest.raises(UserError, match="torch finds no GPU"):
        Compute(device="cuda").start()
    assert Compute(dtype="bfloat16").precision(CPU) == torch.bfloat16
    assert Compute(dtype="float32").precision(CPU) == torch.float32
    assert Compute().precision(CPU) == (torch.bfloat16 if has_bfloat16(CPU) else torch.float32)
    left = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with casting(CPU, dtype):
            assert (left @ left).dtype == dtype
