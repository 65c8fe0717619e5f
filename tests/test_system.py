"""Corrupt, encode, score: the traps that systems of this kind are known for, each held by a test."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from electrain.batch import Batch, chosen, gather, sample, scatter, select, slots
from electrain.corruptors.base import Corrupted
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.corruptors.masking import mask
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.metrics import add, area, histograms, mean, read
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.randomness import Stream, row_keys, uniform
from electrain.system import System
from electrain.vocab import Vocab

VOCAB = Vocab(size=101, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
SIZES = Bert.Config(layers=1, hidden=16, ffn=32, heads=2, embedding=8, positions=128)
ELECTRA = System.Config(SIZES, Joint.Config(width=0.5), Rtd.Config(), weight=50.0)
NOW = torch.zeros(())


def rows(count: int, length: int, *, full: bool = True, step: int = 0, vocab: Vocab = VOCAB) -> Batch:
    """[CLS] tokens [SEP], or rows of all lengths from none to `length - 2` tokens, padded."""
    ids = torch.randint(5, vocab.size, (count, length))
    ends = torch.full((count,), length) if full else torch.linspace(2, length, count).long()
    place = torch.arange(length)[None]
    real = place < ends[:, None]
    ids[:, 0] = vocab.cls
    ids[torch.arange(count), ends - 1] = vocab.sep
    ids = torch.where(real, ids, vocab.pad)
    maskable = real & ~torch.isin(ids, torch.tensor(vocab.special))
    return Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(0, step, torch.arange(count)))


def shaken(config: System.Config) -> System:
    made = System(config, VOCAB)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made


# Selection


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4, 1.0])
def test_selection_counts(rate: float) -> None:
    """Always k slots; of them round(rate * maskable) are valid, one at least, and none where nothing can be chosen."""
    data = rows(64, 64, full=False)
    picked = select(data, rate)
    assert picked.index.shape == picked.valid.shape == (64, slots(rate, 64))
    for row in range(64):
        places = picked.index[row, picked.valid[row]].tolist()
        maskable = int(data.maskable[row].sum())
        assert len(places) == len(set(places)) == min(maskable, max(1, int(maskable * rate + 0.5)))
        assert all(data.maskable[row, place] for place in places)
        assert places == sorted(places)


def test_specials_and_padding_are_never_selected_but_scored() -> None:
    for step in range(20):
        data = rows(16, 24, full=False, step=step)
        for replacement in (False, True):
            marks = chosen(select(data, 0.5, replacement=replacement), 24)
            assert not (marks & ~data.maskable).any()
    system = shaken(ELECTRA).eval()
    out = system(data, NOW)
    assert out.metrics["rtd_loss"][1] == data.real.sum()  # [CLS] and [SEP] count, padding does not


@pytest.mark.parametrize("replacement", [False, True])
def test_selection_is_uniform(replacement: bool) -> None:
    draws = (select(rows(64, 22, step=step), 0.15, replacement=replacement) for step in range(200))
    marks = torch.stack([chosen(picked, 22).sum(0) for picked in draws]).sum(0)
    assert marks[0] == marks[-1] == 0
    assert marks.sum() == 64 * 200 * 3 if not replacement else marks.sum() < 64 * 200 * 3
    assert stats.chisquare(marks[1:-1].numpy()).pvalue > 1e-3


def test_pairs_of_places_are_selected_alike() -> None:
    """No two places go together, or avoid each other, more than chance has it."""
    together = torch.zeros(12, 12)
    for step in range(100):
        marks = chosen(select(rows(64, 14, step=step), 0.25), 14)[:, 1:-1].float()
        together += marks.T @ marks
    counts = together[torch.triu(torch.ones(12, 12), 1) > 0].numpy()
    # A row's three pairs share places, so the counts spread a little less than independent ones would.
    assert stats.chisquare(counts).pvalue > 1e-3


def test_with_replacement_repeats_are_dropped() -> None:
    """128 tokens, 19 draws: 1 - (1 - 1/128)^19 = 13.8 % of the tokens are drawn at least once."""
    ids = torch.randint(5, VOCAB.size, (256, 128))
    everything = torch.ones_like(ids, dtype=torch.bool)
    shares = []
    for step in range(20):
        data = Batch(ids, torch.zeros_like(ids), everything, everything, row_keys(0, step, torch.arange(256)))
        picked = select(data, 0.15, replacement=True)
        assert picked.index.shape == (256, 19)
        marks = chosen(picked, 128)
        assert marks.sum() == picked.valid.sum()  # no place counts twice
        shares.append(marks.float().mean().item())
    assert np.mean(shares) == pytest.approx(1 - (127 / 128) ** 19, abs=5e-4)
    assert round(100 * np.mean(shares), 1) == pytest.approx(13.8, abs=0.11)


def test_gather_and_scatter() -> None:
    data = rows(8, 20, full=False)
    picked = select(data, 0.3)
    new = torch.randint(5, VOCAB.size, picked.index.shape)
    expected = data.ids.clone()
    for row, slot in picked.valid.nonzero().tolist():
        expected[row, picked.index[row, slot]] = new[row, slot]
    changed = scatter(data.ids, picked, new)
    assert torch.equal(changed, expected)
    assert torch.equal(gather(changed, picked.index)[picked.valid], new[picked.valid])
    hidden = torch.randn(8, 20, 5)
    assert torch.equal(
        gather(hidden, picked.index), torch.stack([h[i] for h, i in zip(hidden, picked.index, strict=True)])
    )


@pytest.mark.parametrize(("masked", "random"), [(0.8, 0.1), (0.85, 0.0), (1.0, 0.0), (0.0, 0.0), (0.3, 0.7)])
def test_shares_of_masking(masked: float, random: float) -> None:
    became, total, drawn = np.zeros(3), 0, []
    for step in range(40):
        data = rows(64, 64, step=step)
        picked = select(data, 0.5)
        ids = mask(data, picked, VOCAB, masked=masked, random=random)
        marks = chosen(picked, 64)
        assert torch.equal(ids[~marks], data.ids[~marks])
        other = marks & (ids != VOCAB.mask) & (ids != data.ids)
        became += np.array([(marks & (ids == VOCAB.mask)).sum(), other.sum(), (marks & (ids == data.ids)).sum()])
        total += int(marks.sum())
        drawn.append(ids[other])
    # A random token is [MASK], or the text's own, once in 101 each.
    chances = np.array([masked + random / 101, random * 99 / 101, 1 - masked - random + random / 101])
    for count, chance in zip(became, chances, strict=True):
        assert stats.binomtest(int(count), total, chance).pvalue > 1e-3 if 0 < chance < 1 else count == chance * total
    if random:
        counts = torch.cat(drawn).bincount(minlength=VOCAB.size)
        assert stats.chisquare(np.delete(counts.numpy(), VOCAB.mask)[:4]).pvalue > 1e-3
    with pytest.raises(UserError, match="masked"):
        Joint.Config(masked=0.9, random=0.2)


# Sampling


def cumulative(logits: Tensor) -> np.ndarray:
    weight = np.exp(logits.double().numpy() - logits.double().numpy().max(-1, keepdims=True))
    return np.cumsum(weight, -1) / weight.sum(-1, keepdims=True)


@pytest.mark.parametrize("size", [7, 128, 129, 1000])
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_samples_follow_the_softmax(size: int, scale: float) -> None:
    """Chi-square of 40,000 draws; an argmax, a temperature or an offset by one would fail it."""
    logits = (torch.randn(size) * scale).expand(40_000, size)
    u = uniform(row_keys(1, 0, torch.arange(200)), Stream.SAMPLE, torch.arange(200)[None]).flatten()
    counts = sample(logits, u).bincount(minlength=size).numpy()
    expected = logits[0].double().softmax(0).numpy() * 40_000
    rare = expected < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum())
    keep = wanted > 0
    assert seen[~keep].sum() == 0
    assert stats.chisquare(seen[keep], wanted[keep] * seen.sum() / wanted.sum()).pvalue > 1e-3


def test_a_skewed_vocabulary_of_thirty_thousand() -> None:
    """Zipf's law over 30,522 tokens, in any order: head, middle and the rare tail, which a float32 sum loses."""
    size = 30_522
    order = torch.randperm(size)
    logits = torch.empty(size)
    logits[order] = -torch.arange(1, size + 1).float().log()
    u = uniform(row_keys(2, 0, torch.arange(16)), Stream.SAMPLE, torch.arange(250)[None]).flatten()
    tokens = torch.cat([sample(logits.expand(500, size), part) for part in u.split(500)])
    ranks = torch.empty(size, dtype=torch.long)
    ranks[order] = torch.arange(size)
    edges = torch.tensor([0, 1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384, size])
    counts = torch.histogram(ranks[tokens].float(), edges.float()).hist.numpy()
    chance = logits.double().softmax(0)[order]
    wanted = [chance[a:b].sum().item() * tokens.numel() for a, b in pairwise(edges.tolist())]
    assert stats.chisquare(counts, wanted).pvalue > 1e-3


def test_samples_are_exact_at_the_edges() -> None:
    """The token whose step of the cumulative distribution holds u: checked in float64 just inside both its ends."""
    size = 3_000
    logits = torch.randn(1, size) * 3
    steps = cumulative(logits)[0]
    inside = 1e-6 * np.diff(steps, prepend=0.0) + 1e-9  # the weights themselves are float32
    wide = np.diff(steps, prepend=0.0) > 1e-5
    low, high = (
        np.append(0, steps[:-1]) + 0.02 * np.diff(steps, prepend=0.0),
        steps - 0.02 * np.diff(steps, prepend=0.0),
    )
    assert wide.sum() > 500 and (inside > 0).all()
    for ends in (low, high):
        tokens = sample(logits.expand(size, size), torch.from_numpy(ends))
        assert np.array_equal(tokens.numpy()[wide], np.arange(size)[wide])


def test_extreme_logits_and_uniforms() -> None:
    size = 300
    certain = torch.full((2, size), -1e4)
    certain[0, 0] = certain[1, 299] = 1e4
    for u in (0.0, 0.5, 1 - 2**-53):
        assert sample(certain, torch.full((2,), u, dtype=torch.float64)).tolist() == [0, 299]
    flat = torch.zeros(1, size)
    assert sample(flat, torch.zeros(1, dtype=torch.float64)).item() == 0
    assert sample(flat, torch.tensor([1 - 2**-53], dtype=torch.float64)).item() == 299
    impossible = torch.zeros(1, size)
    impossible[0, 128:256] = -torch.inf  # a whole block without weight is never drawn
    u = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1]
    assert not ((sample(impossible.expand(2000, size), u) // 128) == 1).any()
    assert sample(torch.randn(3, 4, size).bfloat16(), torch.rand(3, 4, dtype=torch.float64)).shape == (3, 4)


@pytest.mark.slow
def test_compiled_draws_are_the_eager_ones() -> None:
    """Selection, masking and sampling of the same batch, compiled in one graph and not."""

    def draw(batch: Batch) -> tuple[Tensor, ...]:
        picked = select(batch, 0.15)
        ids = mask(batch, picked, VOCAB, masked=0.8, random=0.1)
        # Logits that no compiler can compute otherwise: small whole numbers.
        logits = (gather(ids, picked.index)[..., None] * 7 + torch.arange(VOCAB.size) * 3).remainder(11).float()
        return *picked, ids, sample(logits, uniform(batch.key, Stream.SAMPLE, picked.index))

    data = rows(5, 40, full=False)
    for eager, compiled in zip(draw(data), torch.compile(draw, fullgraph=True)(data), strict=True):
        assert torch.equal(eager, compiled)


# The joint corruptor


def test_the_discriminator_reads_samples_not_masks() -> None:
    system = shaken(ELECTRA).eval()
    data = rows(64, 40)
    seen = system.corruptor(data, system.encoder, NOW)
    marks = chosen(seen.picked, 40)
    assert torch.equal(seen.ids[~marks], data.ids[~marks])
    # What stands at the places is the generator's draw from what it thinks of the masked text.
    generator = system.corruptor.generator
    masked = mask(data, seen.picked, VOCAB, masked=0.85, random=0.0)
    assert (masked == VOCAB.mask).sum() > 0.7 * marks.sum()
    with torch.no_grad():
        hidden = generator.encoder(masked, data.real, data.segments)
        logits = generator.head(gather(hidden, seen.picked.index), system.encoder.tokens.weight)
        drawn = sample(logits, uniform(data.key, Stream.SAMPLE, seen.picked.index))
    assert torch.equal(gather(seen.ids, seen.picked.index)[seen.picked.valid], drawn[seen.picked.valid])
    # [MASK] is there as often as it was drawn, no more.
    assert (seen.ids == VOCAB.mask).sum() == (drawn[seen.picked.valid] == VOCAB.mask).sum() < 0.2 * marks.sum()


def test_a_correct_sample_is_original() -> None:
    """A generator that always knows the answer replaces nothing; one that never does replaces every place."""
    for right in (True, False):
        system = System(ELECTRA, VOCAB).eval()
        data = rows(8, 24)
        data = data._replace(ids=torch.where(data.maskable, 50, data.ids))
        with torch.no_grad():
            system.corruptor.generator.head.bias.fill_(-100.0)[50 if right else 51] = 100.0
        seen = system.corruptor(data, system.encoder, NOW)
        marks = chosen(seen.picked, 24)
        assert torch.equal(seen.replaced, torch.zeros_like(marks) if right else marks)
        metrics = read(system(data, NOW).metrics)
        assert metrics["mlm_accuracy"] == float(right)
        assert metrics["replaced"] == pytest.approx(0.0 if right else marks.float().mean().item())


def test_no_gradient_passes_through_a_sample() -> None:
    """From the objective alone the generator's own weights get none at all; shared embeddings get the encoder's."""
    system = shaken(ELECTRA)
    data = rows(8, 24)
    seen = system.corruptor(data, system.encoder, NOW)
    scored = system.objective(system.encoder(seen.ids, data.real, data.segments), seen, data, system.encoder)
    scored.loss.backward()
    shared = {id(parameter) for parameter in system.encoder.parameters()}
    own = [parameter for parameter in system.corruptor.parameters() if id(parameter) not in shared]
    assert own and all(parameter.grad is None for parameter in own)
    assert all(parameter.grad is not None for parameter in system.encoder.parameters())
    # And the corruptor's loss gives the discriminator's own layers none.
    system.zero_grad()
    system.corruptor(data, system.encoder, NOW).loss.backward()
    assert all(parameter.grad is not None for parameter in own)
    assert all(parameter.grad is None for parameter in system.encoder.layers.parameters())


def storages(module: torch.nn.Module) -> set[int]:
    return {parameter.data_ptr() for parameter in module.parameters()}


@pytest.mark.parametrize("tying", ["none", "embeddings", "all"])
def test_tying(tying: str) -> None:
    whole = Joint.Config(width=1.0, depth=1.0, tying=tying)  # type: ignore[arg-type]
    system = System(replace(ELECTRA, corruptor=whole), VOCAB)
    encoder, corruptor = system.encoder, system.corruptor
    common = storages(encoder) & storages(corruptor)
    if tying == "none":
        assert not common
    elif tying == "embeddings":
        tables = encoder.embeddings
        assert tables is corruptor.generator.encoder.embeddings
        # Three tables and their LayerNorm's scale and shift: five tensors, and nothing else.
        assert common == storages(tables) and len(common) == 5
    else:
        assert corruptor.generator.encoder is None
        assert storages(corruptor) == storages(corruptor.generator.head)  # all that it has of its own
        system(rows(2, 16), NOW).loss.backward()
        assert encoder.layers[0].up.weight.grad is not None
    assert sum(p.numel() for p in system.parameters()) == sum(
        p.numel() for p in {p.data_ptr(): p for p in system.parameters()}.values()
    )


def test_tying_all_needs_one_size() -> None:
    with pytest.raises(UserError, match="width 1 and depth 1"):
        Joint.Config(width=0.5, tying="all")


def test_dropout_only_in_training_and_from_the_key_alone() -> None:
    system = shaken(ELECTRA)
    data = rows(4, 24)
    losses = [system(data, NOW).loss for _ in range(2)]
    assert torch.equal(*losses)
    torch.manual_seed(123)
    assert torch.equal(system(data, NOW).loss, losses[0])
    other = data._replace(key=row_keys(0, 1, torch.arange(4)))
    assert not torch.equal(system(other, NOW).loss, losses[0])
    system.eval()
    still = shaken(replace(ELECTRA, encoder=replace(SIZES, dropout=0.0, attention_dropout=0.0))).train()
    still.load_state_dict(system.state_dict())
    torch.testing.assert_close(still(data, NOW).loss, system(data, NOW).loss)


# Losses against NumPy


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def rtd_by_hand(logits: np.ndarray, replaced: np.ndarray, where: np.ndarray) -> float:
    return float(np.where(replaced, softplus(-logits), softplus(logits))[where].mean())


def mlm_by_hand(logits: np.ndarray, target: np.ndarray, where: np.ndarray) -> float:
    flat, wanted = logits[where].astype(np.float64), target[where]
    top = flat.max(-1, keepdims=True)
    log_sum = np.log(np.exp(flat - top).sum(-1)) + top[:, 0]
    return float((log_sum - flat[np.arange(len(wanted)), wanted]).mean())


@pytest.mark.parametrize("places", ["all", "selected"])
def test_joint_loss_by_hand(places: str) -> None:
    system = shaken(replace(ELECTRA, objective=Rtd.Config(places=places))).eval()  # type: ignore[arg-type]
    data = rows(9, 30, full=False)
    with torch.no_grad():
        out = system(data, NOW)
        seen = system.corruptor(data, system.encoder, NOW)
        masked = mask(data, seen.picked, VOCAB, masked=0.85, random=0.0)
        generator = system.corruptor.generator
        hidden = generator.encoder(masked, data.real, data.segments)
        words = generator.head(hidden, system.encoder.tokens.weight).numpy()
        verdicts = system.objective.head(system.encoder(seen.ids, data.real, data.segments)).double().numpy()
    marks = chosen(seen.picked, 30).numpy()
    where = data.real.numpy() if places == "all" else marks
    replaced = (seen.ids != data.ids).numpy()
    rtd, mlm = rtd_by_hand(verdicts, replaced, where), mlm_by_hand(words, data.ids.numpy(), marks)
    assert out.loss.item() == pytest.approx(mlm + 50 * rtd, rel=1e-5)
    metrics = read(out.metrics)
    real = data.real.numpy()
    expected = {
        "loss": mlm + 50 * rtd,
        "mlm_loss": mlm,
        "mlm_accuracy": (words.argmax(-1) == data.ids.numpy())[marks].mean(),
        "rtd_loss": rtd,
        "replaced": replaced[real].mean(),
        "sampled_right": (~replaced)[marks].mean(),
        "rtd_majority": 1 - replaced[real].mean(),
        "rtd_accuracy": ((verdicts > 0) == replaced)[real].mean(),
        "rtd_recall": (verdicts > 0)[replaced].mean(),
        "generator_entropy": mlm_by_hand(words, seen.ids.numpy(), marks),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-4), name
    assert metrics["rtd_auc"] == pytest.approx(roc_auc_score(replaced[real], verdicts[real]), abs=5e-3)
    assert set(metrics) == {*expected, "rtd_auc"}


def test_mlm_loss_by_hand() -> None:
    system = shaken(System.Config(SIZES, Mask.Config(), Mlm.Config())).eval()
    data = rows(9, 30, full=False)
    with torch.no_grad():
        out = system(data, NOW)
        picked = select(data, 0.15)
        masked = mask(data, picked, VOCAB, masked=0.8, random=0.1)
        hidden = system.encoder(masked, data.real, data.segments)
        words = system.objective.head(hidden, system.encoder.tokens.weight).numpy()
    assert out.loss.item() == pytest.approx(mlm_by_hand(words, data.ids.numpy(), chosen(picked, 30).numpy()), rel=1e-5)


def test_a_batch_without_anything_to_mask() -> None:
    """No division by nothing: the loss is finite and so are the gradients."""
    data = rows(3, 10)
    nothing = data._replace(maskable=torch.zeros_like(data.maskable))
    for config in (ELECTRA, System.Config(SIZES, Mask.Config(), Mlm.Config())):
        system = shaken(config)
        out = system(nothing, NOW)
        out.loss.backward()
        assert torch.isfinite(out.loss)
        assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.grad is not None)


def test_padding_changes_nothing() -> None:
    """A row's verdicts are the same with more padding behind it."""
    system = shaken(ELECTRA).eval()
    data = rows(4, 20)
    longer = torch.nn.functional.pad(data.ids, (0, 9))
    real = torch.nn.functional.pad(data.real, (0, 9))
    with torch.no_grad():
        short = system.encoder(data.ids, data.real)
        long = system.encoder(longer, real)[:, :20]
    torch.testing.assert_close(short, long, rtol=1e-5, atol=1e-5)


# Metrics


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0, 6.0])
def test_area_is_close_to_the_exact_one(shift: float) -> None:
    positive = torch.rand(20_000) < 0.1
    logits = torch.randn(20_000) * 2 - 2 + shift * positive
    where = torch.rand(20_000) < 0.9
    expected = roc_auc_score(positive[where].numpy(), logits[where].numpy())
    assert area(histograms(logits, positive, where)) == pytest.approx(expected, abs=1e-3)


def test_metrics_add_up() -> None:
    logits, positive = torch.randn(4, 500), torch.rand(4, 500) < 0.3
    everywhere = torch.ones_like(positive)
    total = None
    for part in range(4):
        some = slice(part, part + 1)
        more = {
            "auc": histograms(logits[some], positive[some], everywhere[some]),
            "mean": mean(logits[some], positive[some]),
        }
        total = add(total, more)
    assert total is not None
    found = read(total)
    assert found["auc"] == area(histograms(logits, positive, everywhere))
    assert found["mean"] == pytest.approx(logits[positive].mean().item(), rel=1e-4)
    nothing = torch.zeros_like(positive)
    assert np.isnan(read({"none": mean(logits, nothing)})["none"])
    assert np.isnan(area(histograms(logits, nothing, everywhere)))


def test_replaced_is_what_differs() -> None:
    """Replacements of BERT's corruptor: [MASK] and random tokens, not those that stayed."""
    data = rows(16, 40)
    system = System(System.Config(SIZES, Mask.Config(), Rtd.Config()), VOCAB)
    seen: Corrupted = system.corruptor(data, system.encoder, NOW)
    assert torch.equal(seen.replaced, seen.ids != data.ids)
    assert seen.loss == 0 and 0 < seen.replaced.sum() <= chosen(seen.picked, 40).sum()
