"""A frozen generator from transformers: its own logits at the picked places, and clear words where it cannot be."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    DistilBertModel,
    PreTrainedModel,
)

from electrain.batch import Batch, gather, select
from electrain.compute import Step
from electrain.corruptors.frozen import Frozen
from electrain.cost import Shape
from electrain.curriculum import Schedule
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.hub.foreign import Foreign
from electrain.hub.masked_lm import load
from electrain.hub.source import Folders
from electrain.objectives.rtd import Rtd
from electrain.randomness import Stream, drop
from electrain.run import Record, Run
from electrain.system import System
from electrain.train import pretrain
from tests.masked_lms import KINDS, WORDS, bert, data, distilbert, roberta, saved, tokenizer
from tests.systems.kit import batch
from tests.training import ENCODER, VOCAB, assert_same, last, one_thread, tiny, weights  # noqa: F401 - a fixture


def padded() -> Batch:
    """Rows of which some end early."""
    text = batch(rows=6)
    ids, real = text.ids.clone(), text.real.clone()
    for row, end in ((1, 9), (4, 12)):
        ids[row, end - 1], ids[row, end:], real[row, end:] = VOCAB.sep, VOCAB.pad, False
    return text._replace(ids=ids, real=real, maskable=text.maskable & real & (ids != VOCAB.sep))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_models_own_at_the_picked_places(kind: str, tmp_path: Path) -> None:
    made = KINDS[kind]()
    network = load(str(saved(made, tmp_path / kind)), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, Foreign) and network.config.apart
    text = padded()
    picked = select(text, 0.3)
    with torch.no_grad():
        whole = made(input_ids=text.ids, attention_mask=text.real.long()).logits[..., : VOCAB.size]
        for mode in (True, False):  # dropout would show
            network.train(mode)
            assert not any(module.training for module in network.modules())
            mine = network.logits(text.ids, text, picked, drop(text.key, Stream.GENERATOR))
            torch.testing.assert_close(mine, gather(whole, picked.index), rtol=1e-5, atol=1e-5)
    assert mine.shape == (6, picked.index.shape[1], VOCAB.size)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_head_sees_only_the_picked_places(tmp_path: Path) -> None:
    network = load(str(saved(roberta(), tmp_path / "model")), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, Foreign)
    seen = []
    network.network.get_output_embeddings().register_forward_hook(lambda m, inputs, out: seen.append(out.shape))
    text = padded()
    picked = select(text, 0.2)
    network.logits(text.ids, text, picked)
    assert seen == [(6, 3, VOCAB.size)]
    network.config = replace(network.config, apart=False)
    whole = network.logits(text.ids, text, picked)
    assert seen[1:] == [(6, 16, VOCAB.size)] and whole.shape == (6, 3, VOCAB.size)


def test_a_head_that_reads_across_places_is_noticed(tmp_path: Path) -> None:
    network = load(str(saved(roberta(), tmp_path / "model")), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, Foreign) and network.probe()
    head = network.network.lm_head
    head.register_forward_pre_hook(lambda m, inputs: (inputs[0] + inputs[0].mean(1, keepdim=True),))
    assert not network.probe()


@pytest.mark.parametrize("kind", ["roberta", "modernbert"])
def test_it_is_built_again_from_its_configuration_alone(kind: str, tmp_path: Path) -> None:
    network = load(str(saved(KINDS[kind](), tmp_path / kind)), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, Foreign)
    run = tiny(System.Config(ENCODER, Frozen.Config(generator=network.config), Rtd.Config()))
    back = Run.from_json(json.loads(json.dumps(run.to_json())))
    assert back == run and isinstance(back.system, System.Config) and isinstance(back.system.corruptor, Frozen.Config)
    generator = back.system.corruptor.generator
    assert generator is not None
    again = generator.build(VOCAB)
    again.load_state_dict(network.state_dict())
    text = padded()
    picked = select(text, 0.3)
    assert torch.equal(again.logits(text.ids, text, picked), network.logits(text.ids, text, picked))


def test_its_operations_are_those_that_torch_counts(tmp_path: Path) -> None:
    """With plain attention, since torch does not count the fused one on a CPU."""
    network = load(str(saved(distilbert(), tmp_path / "model")), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, Foreign)
    network.network.set_attn_implementation("eager")
    text = batch(rows=1)
    picked = select(text, 0.2)
    with FlopCounterMode(display=False) as counter:
        network.logits(text.ids, text, picked)
    stated = network.cost(Shape(16, picked.index.shape[1], VOCAB.size), "g", trained=False)
    assert sum(work.plain for work in stated) == pytest.approx(counter.get_total_flops(), rel=1e-9)
    assert [work.part for work in stated] == ["g", "g: head"] and not any(work.trained for work in stated)


def run_from(folder: Path, **fields: object) -> Run:
    frozen = Frozen.Config(source=str(folder), **fields)  # type: ignore[arg-type]
    return tiny(System.Config(ENCODER, frozen, Rtd.Config()), steps=8, save_every=4, log_every=2, eval_every=100)


@pytest.mark.parametrize("kind", [pytest.param("distilbert", marks=pytest.mark.slow), "modernbert"])
def test_one_graph(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **how: compile(*args, **how, backend="eager"))
    source = Folders(data(tmp_path / "data"))
    config = run_from(saved(KINDS[kind](), tmp_path / "model")).system.resolve(source)
    system = config.build(VOCAB)
    system.start(source)
    said: list[str] = []
    step = Step(system, torch.float32, compile=True, say=said.append)
    for number in range(3):
        step(batch(number), torch.full((), number / 3)).loss.backward()
    assert not any(line.startswith("not compiled") for line in said), said
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    with torch.no_grad():
        found = step(batch(9), torch.tensor(0.5)).metrics["replaced"]
    assert torch.equal(found, system(batch(9), torch.tensor(0.5)).metrics["replaced"])


def test_a_run_goes_on_without_its_source(tmp_path: Path) -> None:
    folder = data(tmp_path / "data")
    source = saved(roberta(), tmp_path / "model")
    run = run_from(source)
    pretrain(run, folder, tmp_path / "whole")
    pretrain(run, folder, tmp_path / "cut")
    state = weights(last(tmp_path / "cut"))
    assert not any("corruptor" in name for name in state if name.startswith("optimizer"))
    assert any("corruptor.generator" in name for name in state if name.startswith("model"))
    for file in (tmp_path / "cut" / "checkpoints").glob("step-000008*/*"):
        file.unlink()
    for path in (tmp_path / "cut" / "checkpoints").glob("step-000008*"):
        path.rmdir()
    source.rename(tmp_path / "gone")
    pretrain(run, folder, tmp_path / "cut")
    assert_same(tmp_path / "whole", tmp_path / "cut")
    recorded = Record.load(tmp_path / "cut").run.system
    assert isinstance(recorded, System.Config) and isinstance(recorded.corruptor, Frozen.Config)
    assert isinstance(recorded.corruptor.generator, Foreign.Config)


def test_bert_becomes_our_own_encoder(tmp_path: Path) -> None:
    network = load(str(saved(bert(), tmp_path / "model")), tokenizer(tmp_path / "tokenizer"))
    assert isinstance(network, EncoderLm) and network.config.drops


def other_words(at: int, word: str) -> list[str]:
    return [*WORDS[:at], word, *WORDS[at + 1 :]]


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def code_of_its_own(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "run_me.Config", "AutoModelForMaskedLM": "run_me.Lm"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "run_me.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nraise SystemExit\n")


def nothing(folder: Path) -> None:
    pass


def without_head() -> PreTrainedModel:
    return DistilBertModel(distilbert().config)


def small() -> PreTrainedModel:
    return BertForMaskedLM(BertConfig(vocab_size=150, hidden_size=16, num_hidden_layers=1, num_attention_heads=1))


def bart() -> PreTrainedModel:
    return BartForConditionalGeneration(
        BartConfig(vocab_size=200, d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16,
                   decoder_ffn_dim=16, encoder_attention_heads=1, decoder_attention_heads=1, max_position_embeddings=24)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words", "damage", "message"),
    [
        (roberta, other_words(17, "other"), nothing, "token 17 is 'other' there and 'w17' in the data"),
        (roberta, WORDS[:-1], nothing, "token 199 is None there and 'w199' in the data"),
        (bert, other_words(30, "other"), nothing, "token 30 is 'other' there"),
        (roberta, WORDS, no_tokenizer, "has no tokenizer to compare"),
        (distilbert, WORDS, only_a_pickle, "model.safetensors is needed, pickles are not opened"),
        (distilbert, WORDS, code_of_its_own, "no model could be found there"),
        (without_head, WORDS, nothing, "lacks weights of a masked language model"),
        (small, WORDS, nothing, "knows 150 tokens, the data 200"),
        (bart, WORDS, nothing, "a decoder; choose a masked language model"),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    make: Callable[[], PreTrainedModel],
    words: list[str],
    damage: Callable[[Path], None],
    message: str,
    tmp_path: Path,
) -> None:
    folder = saved(make(), tmp_path / "model", words)
    damage(folder)
    with pytest.raises(UserError, match=message) as error:
        load(str(folder), tokenizer(tmp_path / "tokenizer"))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    assert not (folder / "ran").exists()


def test_what_does_not_fit_the_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder, out = data(tmp_path / "data"), tmp_path / "run"
    source = saved(roberta(), tmp_path / "model")
    encoder = replace(ENCODER, positions=64)
    for run, message in (
        (run_from(source, dropout=Schedule("linear", 0.3, 0.0)), "dropout cannot be set"),
        (replace(run_from(source), system=replace(run_from(source).system, encoder=encoder), length=24), "rows of 24"),
        (run_from(tmp_path / "absent"), "absent"),
        (replace(run_from(source), system=System.Config(ENCODER, Frozen.Config(), Rtd.Config())), "name the frozen"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(run, folder, out)
        assert not out.exists()
