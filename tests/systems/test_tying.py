"""What generator and discriminator share: which tensors are one, and where gradients flow, whatever a run goes through.

None, embeddings, all (ELECTRA, section 3.2) and gradient-disentangled embedding sharing (DeBERTaV3, 2111.09543).
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from electrain import checkpoint
from electrain.compute import Step
from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.hub.weights import as_transformers, fill, part_of, parts, put
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.system import System
from tests.forked import together
from tests.systems.kit import batch, shaken
from tests.training import (
    ENCODER,
    VOCAB,
    one_thread,  # noqa: F401 - a fixture
)

NOW = torch.zeros(())
TYINGS = ("none", "embeddings", "all", "disentangled")
every_tying = pytest.mark.parametrize("tying", TYINGS)


def system_of(tying: str) -> System:
    torch.manual_seed(1)
    joint = Joint.Config(width=1.0, tying=tying)  # type: ignore[arg-type]
    return shaken(System.Config(ENCODER, joint, Rtd.Config(), weight=50.0).build(VOCAB), 0.05)


def generator_of(system: System) -> Bert:
    assert isinstance(system.corruptor, Joint) and isinstance(system.encoder, Bert)
    own = system.corruptor.generator.encoder
    assert own is None or isinstance(own, Bert)
    return own if own is not None else system.encoder


def check(system: System, tying: str) -> None:
    """Which tensors are one: by identity, by count, and by writing to one and reading the other."""
    ours, theirs = (dict(encoder.named_parameters()) for encoder in (system.encoder, generator_of(system)))
    one = {name for name in ours if ours[name] is theirs.get(name)}
    embeddings = {name for name in ours if name.startswith("embeddings.")}
    assert embeddings and (set(ours) == set(theirs)) == (tying != "disentangled")
    assert one == {"none": set(), "embeddings": embeddings, "all": set(ours), "disentangled": set()}[tying]
    unique = list(system.parameters())
    names = [name for name, _ in system.named_parameters(remove_duplicate=False)]
    assert len(names) - len(unique) == (len(embeddings) if tying == "embeddings" else 0)
    with torch.no_grad():
        base, table = generator_of(system).tokens.weight, system.encoder.tokens.weight
        before, apart = table.clone(), table - base
        base.add_(1.0)
        after = system.encoder.tokens.weight
        torch.testing.assert_close(
            after - before, torch.zeros_like(before) if tying == "none" else torch.ones_like(before)
        )
        base.sub_(1.0)
        if tying in ("embeddings", "all"):
            assert not apart.any()
        elif tying == "disentangled":
            torch.testing.assert_close(apart, delta_of(system))
            assert apart.abs().max() > 1e-3


def delta_of(system: System) -> Tensor:
    """The discriminator's own part of a disentangled table."""
    tokens = system.encoder.tokens
    assert parametrize.is_parametrized(tokens, "weight")
    (delta,) = tokens.parameters()
    return delta


def train(call: nn.Module | Step, system: System, steps: int = 3) -> None:
    """A few updates, so that what was one by accident of its start no longer is."""
    adam = Adam(lr=1e-2, warmup=0)
    optimizer = adam.build(system)
    for step in range(steps):
        adam.set_rate(optimizer, step, steps)
        call(batch(step), NOW).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    "tying", [pytest.param(tying, marks=[pytest.mark.slow] if tying != "disentangled" else []) for tying in TYINGS]
)
def test_one_after_compile_save_and_load(tying: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **how: compile(*args, **how, backend="aot_eager"))
    system = system_of(tying)
    check(system, tying)
    said: list[str] = []
    call = Step(system, torch.float32, compile=True, say=said.append)
    train(call, system)
    assert not any(line.startswith("not compiled") for line in said), said
    check(system, tying)
    optimizer = Adam().build(system)
    path = checkpoint.save(tmp_path, 3, system, optimizer, {})
    other = system_of(tying)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    checkpoint.load(path, other, Adam().build(other))
    check(other, tying)
    for (name, a), (same, b) in zip(system.named_parameters(), other.named_parameters(), strict=True):
        assert name == same and torch.equal(a, b), name
    assert torch.equal(system(batch(9), NOW).loss, other(batch(9), NOW).loss)


@every_tying
def test_whose_gradient_reaches_the_generators_table(tying: str) -> None:
    """The discriminator's loss pulls at the table only where it is shared outright; the generator's always does."""
    system = system_of(tying)
    text = batch()
    seen = system.corruptor(text, system.encoder, NOW)
    hidden = system.encoder(seen.ids, text.real, text.segments)
    system.objective(hidden, seen, text, system.encoder).loss.backward()
    table = generator_of(system).tokens.weight
    assert (table.grad is not None) == (tying in ("embeddings", "all"))
    (own,) = system.encoder.tokens.parameters()
    assert own.grad is not None and own.grad.abs().sum() > 0
    kept = own.grad.clone()
    seen.loss.backward()
    assert table.grad is not None and table.grad.abs().sum() > 0
    assert torch.equal(own.grad, kept) == (tying in ("none", "disentangled"))


def test_a_disentangled_table_starts_as_the_generators() -> None:
    torch.manual_seed(1)
    joint = Joint.Config(width=0.5, tying="disentangled")
    system = System.Config(ENCODER, joint, Rtd.Config()).build(VOCAB)
    assert not delta_of(system).any()
    assert torch.equal(system.encoder.tokens.weight, generator_of(system).tokens.weight)
    ours, theirs = (dict(encoder.embeddings.named_parameters()) for encoder in (system.encoder, generator_of(system)))
    assert ours["positions.weight"] is not theirs["positions.weight"], "the token table alone is shared so"


def test_export_gives_the_sum_and_import_finds_the_delta() -> None:
    system = system_of("disentangled").eval()
    text = batch()
    discriminator = part_of(system, "discriminator")
    theirs = as_transformers(discriminator, VOCAB)
    table = theirs.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    base = generator_of(system).tokens.weight
    torch.testing.assert_close(table, base + delta_of(system), rtol=0, atol=0)
    assert (table - base).abs().max() > 1e-3 and (table - delta_of(system)).abs().max() > 1e-3
    with torch.no_grad():
        logits = theirs(input_ids=text.ids, attention_mask=text.real.long(), token_type_ids=text.segments).logits
        hidden = system.encoder(text.ids, text.real, text.segments)
        torch.testing.assert_close(logits, discriminator.head(hidden), rtol=1e-5, atol=1e-5)
        generator = as_transformers(part_of(system, "generator"), VOCAB)
        lower = generator.get_input_embeddings().weight
        assert isinstance(lower, Tensor) and torch.equal(lower, base)
    other = system_of("disentangled")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    found = parts(other)
    values = {
        **fill(found["discriminator"], "electra", theirs.state_dict()),
        **fill(found["generator"], part_of(system, "generator").family, generator.state_dict()),
    }
    put(values, found.values())
    for name, parameter in system.named_parameters():
        torch.testing.assert_close(dict(other.named_parameters())[name], parameter, rtol=0, atol=1e-6)


def work(rank: int, folder: str) -> None:
    from torch.nn.parallel import DistributedDataParallel

    for tying in TYINGS:
        system = system_of(tying)
        train(DistributedDataParallel(system, find_unused_parameters=True), system)
        check(system, tying)
        torch.save(checkpoint.weights(system), Path(folder) / f"{tying}-{rank}.pt")


@pytest.mark.xdist_group("processes")
def test_one_in_two_processes(tmp_path: Path) -> None:
    """After three updates under DDP, in each process and between them."""
    together(work, str(tmp_path), ranks=2, folder=tmp_path)
    for tying in TYINGS:
        one, other = (torch.load(tmp_path / f"{tying}-{rank}.pt", weights_only=True) for rank in (0, 1))
        assert one.keys() == other.keys() and len(one) > 20
        assert all(torch.equal(one[name], other[name]) for name in one)
