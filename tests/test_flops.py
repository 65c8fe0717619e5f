"""Operations, parameters and memory of a run against published figures, torch's own counter and a real step."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from electrain.compute import casting
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.cost import Shape, Work, layers, linears
from electrain.encoders.attention import fused
from electrain.encoders.bert import Bert
from electrain.flops import count, describe, parameters
from electrain.memory import Live, Memory, Saved, blank, measure
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.recipes.bert import bert_base, bert_small
from electrain.recipes.electra import electra_base, electra_large, electra_small
from electrain.recipes.sizes import LARGE
from electrain.run import Run
from electrain.system import System
from electrain.vocab import Vocab

VOCAB = Vocab(1000, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
TINY = Bert.Config(layers=2, hidden=64, ffn=256, heads=2, embedding=32, positions=64)
SYSTEMS = {
    "electra": System.Config(TINY, Joint.Config(width=0.5), Rtd.Config(), weight=50.0),
    "untied": System.Config(TINY, Joint.Config(rate=0.25, width=0.5, depth=0.5, tying="none"), Rtd.Config()),
    "one encoder": System.Config(TINY, Joint.Config(width=1.0, tying="all"), Rtd.Config()),
    "bert": System.Config(replace(TINY, embedding=64), Mask.Config(), Mlm.Config()),
}


def bert_large() -> Run:
    """BERT-Large as the ELECTRA paper compares with it: 1M steps of 256 rows of 512."""
    return replace(bert_base(), system=System.Config(LARGE.encoder, Mask.Config(), Mlm.Config()))


@pytest.mark.parametrize(
    ("make", "printed"),
    [
        (electra_small, 1.294e18),
        (bert_small, 1.419e18),
        (electra_base, 6.425e19),
        (bert_base, 6.43e19),
        (electra_large, 7.118e20),
        (lambda: electra_large(1_750_000), 3.114e21),
        (bert_large, 1.917e20),
    ],
)
def test_the_papers_way_gives_the_printed_figures(make: Callable[[], Run], printed: float) -> None:
    """The figures that the official script prints (table 1 of the paper rounds them)."""
    assert count(make()).paper_total.run == pytest.approx(printed, rel=1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_plain_operations_are_those_that_torch_counts(name: str) -> None:
    run = small(SYSTEMS[name])
    system = run.system.build(VOCAB).train()
    with FlopCounterMode(display=False) as counter:
        system(blank(run.batch, run.length), torch.zeros(())).loss.backward()
    assert count(run, VOCAB.size).plain_total.step == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_parts_by_hand() -> None:
    """ELECTRA-Small: forward operations of a token, of the formulas one writes on paper."""
    plain = count(electra_small()).plain
    assert {name: value.token / 3 for name, value in plain.items()} == pytest.approx({
        "generator: embeddings": 2 * 128 * 64,
        "generator": 12 * (8 * 64**2 + 4 * 64 * 256),
        "generator: attention": 12 * 4 * 64 * 128,
        "generator: head": 2 * 64 * 128 * 19 / 128,  # 15 % of 128 are 19 slots
        "generator: vocabulary": 2 * 128 * 30522 * 19 / 128,
        "encoder: embeddings": 2 * 128 * 256,
        "encoder": 12 * (8 * 256**2 + 4 * 256 * 1024),
        "encoder: attention": 12 * 4 * 256 * 128,
        "replaced-token head": 2 * 256**2 + 2 * 256,
    })  # fmt: skip


def test_token_step_and_run_belong_together() -> None:
    run = small(SYSTEMS["electra"])
    total = count(run, VOCAB.size).plain_total
    assert total.step == pytest.approx(total.token * run.batch * run.length)
    assert total.run == pytest.approx(total.step * run.steps)


def test_what_is_not_trained_has_no_backward_pass() -> None:
    """A frozen generator costs a third, and half in the paper's way: stated by the part, not known to the counter."""
    shape = Shape(length=128, selected=19, vocab=30522)
    trained, frozen = (
        layers(shape, count=2, hidden=64, ffn=256, heads=1, part="p", trained=flag)[0] for flag in (True, False)
    )
    assert (trained.plain, trained.trained, frozen.trained) == (frozen.plain, True, False)
    probe = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 1)).requires_grad_(False)
    assert linears(probe, shape, "probe") == (Work("probe", 2 * 128 * (15 + 5), 2 * 128 * (15 + 5), False),)
    assert linears(nn.GELU(), shape, "nothing") == ()


def test_a_new_part_states_its_own_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(SYSTEMS["electra"])
    before = count(run, VOCAB.size)
    frozen = (Work("generator", 1e6, 3e6, trained=False),)
    monkeypatch.setattr(Joint, "cost", lambda self, shape, encoder: frozen)
    after = count(run, VOCAB.size)
    assert after.plain["generator"].step == 1e6 * run.batch
    assert after.paper["generator"].step == 3e6 * run.batch
    assert after.plain["encoder"] == before.plain["encoder"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_parameters_are_those_of_the_built_system(name: str) -> None:
    run = small(SYSTEMS[name])
    system = run.system.build(VOCAB)
    found = count(run, VOCAB.size).parameters
    assert found == parameters(system)
    assert sum(found) == sum(parameter.numel() for parameter in system.parameters())
    assert found.embeddings == (1000 + 64 + 2 + 2) * run.system.encoder.embedding  # type: ignore[attr-defined]
    assert (found.corruptor == 0) == (name == "bert")


@pytest.mark.parametrize(
    ("make", "millions"),
    [(electra_small, 14), (bert_small, 14), (electra_base, 110), (bert_base, 110), (electra_large, 335)],
)
def test_models_have_their_published_size(make: Callable[[], Run], millions: int) -> None:
    assert count(make()).parameters.model / 1e6 == pytest.approx(millions, rel=0.035)


@pytest.mark.parametrize(("name", "dtype"), [("electra", torch.float32), ("bert", torch.bfloat16)])
def test_memory_is_that_of_a_real_step(
    name: str, dtype: torch.dtype, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Saved tensors by autograd's hooks, the peak by torch's profiler, which hears from the allocator itself."""
    run = small(SYSTEMS[name])
    expected = measure(run, VOCAB, dtype=dtype)
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(1)  # kernels take scratch space for every thread, which the estimate leaves out
    system = run.system.build(VOCAB).train()
    for parameter in system.parameters():
        parameter.grad = torch.zeros_like(parameter)
    batch = blank(run.batch, run.length)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        with casting(torch.device("cpu"), dtype), fused(), Saved(system.parameters()) as kept:
            loss = system(batch, torch.zeros(())).loss
        loss.backward()
    assert expected.saved == pytest.approx(kept.bytes, rel=0.02)
    assert expected.activations == pytest.approx(peak(profiler, tmp_path / "trace.json"), rel=0.05)
    weights = 4 * sum(parameter.numel() for parameter in system.parameters())
    assert expected == Memory(weights, weights, 2 * weights, expected.saved, expected.activations)
    assert expected.total == 4 * weights + expected.activations


def test_measuring_memory_needs_none() -> None:
    """A layer of ELECTRA-Large at its batch of 2048 rows takes more than this machine has; half the rows, half."""
    run = replace(bert_large(), batch=2048)
    run = replace(run, system=replace(run.system, encoder=replace(LARGE.encoder, layers=1)))
    whole, half = (measure(replace(run, accumulate=parts), replace(VOCAB, size=30522)) for parts in (1, 2))
    assert whole.weights == 4 * sum(count(run).parameters)
    assert whole.activations > 100 * 2**30
    assert 1.95 < whole.activations / half.activations < 2


def test_live_counts_what_is_alive() -> None:
    with Live() as live:
        kept = torch.zeros(250)
        for _ in range(3):
            gone = torch.zeros(500)
            gone.view(5, 100).add_(1)
            del gone
        assert (live.now, live.most) == (1000, 3000)
        del kept
        assert live.now == 0


def test_describe_is_readable() -> None:
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(describe(small(SYSTEMS["bert"]), VOCAB.size, tokens_per_second=1000.0))
    text = console.export_text()
    for words in ("in training", "masked LM: vocabulary", "paper's way", "activations", "days at 1,000 tokens"):
        assert words in text


def small(system: System.Config) -> Run:
    return Run(system=system, recipe="small", steps=10, batch=4, length=32)


def peak(profiler: profile, path: Path) -> int:
    """The most bytes alive at once, of those allocated while profiling."""
    profiler.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        most = max(most, now)
    return most
