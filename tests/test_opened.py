"""A pre-trained network from a run's folder and from its exports: the same vectors, the same heads."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    BertTokenizerFast,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
)

from electrain import checkpoint
from electrain.corruptors.frozen import Frozen
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.corruptors.unigram import Unigram
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.hub import export
from electrain.hub.masked_lm import load as frozen
from electrain.hub.opened import Opened, opened
from electrain.objectives.electric import Electric
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.run import Record, Run
from electrain.system import System
from electrain.systems.networks import networks

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "mat", ".", "##s"]
SIZES = Bert.Config(layers=2, hidden=32, ffn=48, heads=4, embedding=16, positions=24)
ELECTRA = System.Config(SIZES, Joint.Config(width=0.25, rate=0.25), Rtd.Config(), weight=50.0)
BERT = System.Config(replace(SIZES, embedding=32), Mask.Config(), Mlm.Config())
IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 10, 3, 0]])
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(tmp_path / "words")
    return tmp_path / "words"


def a_run(folder: Path, tokenizer: Path, config: System.Config, steps: tuple[int, ...] = (10,)) -> list[System]:
    """A run folder with a checkpoint for each step, and what was saved."""
    folder.mkdir()
    shutil.copytree(tokenizer, folder / "tokenizer")
    run = Run(config, recipe="tiny", steps=100, batch=4, length=16)
    Record(run, "data", "0" * 64, "the command", {}, "a machine").save(folder)
    made = []
    for step in steps:
        system = System(config, vocab_of(load_tokenizer(tokenizer)))
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        checkpoint.save(folder, step, system, torch.optim.AdamW(system.parameters()), {})
        made.append(system.eval())
    return made


@torch.no_grad()
def said(made: Opened) -> dict[str, torch.Tensor]:
    """What the parts make of two rows, padding left out."""
    real = IDS != 0
    out = {"vectors": made.encoder(IDS, real)[real]}
    if made.rtd is not None:
        out["rtd"] = made.rtd(out["vectors"])
    if made.lm is not None:
        out["lm"] = made.lm.head(made.lm.encoder(IDS, real)[real], made.lm.encoder.tokens.weight)
    return out


def test_an_electra_run_and_its_exports(tokenizer: Path, tmp_path: Path) -> None:
    (system,) = a_run(tmp_path / "run", tokenizer, ELECTRA)
    made = opened(tmp_path / "run")
    assert (made.rate, made.step, made.energy) == (0.25, 10, None)
    assert not made.encoder.training and made.rtd is not None and not made.rtd.training
    here = said(made)
    with torch.no_grad():
        hidden = system.encoder(IDS, IDS != 0)[IDS != 0]
        torch.testing.assert_close(here["vectors"], hidden, **CLOSE)
        torch.testing.assert_close(here["rtd"], system.objective.head(hidden), **CLOSE)
    export(tmp_path / "run", tmp_path / "discriminator", "discriminator")
    there = opened(tmp_path / "discriminator")
    assert there.lm is None and there.step is None and there.vocab == made.vocab and there.rate == 0.15
    for name, value in said(there).items():
        torch.testing.assert_close(value, here[name], **CLOSE)
    export(tmp_path / "run", tmp_path / "generator", "generator")
    there = opened(str(tmp_path / "generator"))
    assert there.rtd is None and there.lm is not None and there.lm.encoder is there.encoder
    torch.testing.assert_close(said(there)["lm"], here["lm"], **CLOSE)


@pytest.mark.parametrize("config", [BERT, replace(BERT, encoder=SIZES)], ids=["bert", "narrow"])
def test_a_bert_run_and_its_export(config: System.Config, tokenizer: Path, tmp_path: Path) -> None:
    a_run(tmp_path / "run", tokenizer, config)
    made = opened(tmp_path / "run")
    assert made.rtd is None and made.lm is not None and made.lm.encoder is made.encoder
    export(tmp_path / "run", tmp_path / "out")
    there = said(opened(tmp_path / "out"))
    assert there.keys() == {"vectors", "lm"}
    for name, value in said(made).items():
        torch.testing.assert_close(there[name], value, **CLOSE)


MODERN = Modern.Config(layers=2, hidden=32, ffn=24, heads=4, embedding=32, positions=24, window=3)


@pytest.mark.parametrize(
    "config",
    [
        System.Config(MODERN, Joint.Config(width=0.25), Rtd.Config(), weight=50.0),
        System.Config(replace(MODERN, norm="rms"), Joint.Config(width=0.25), Rtd.Config(), weight=50.0),
        System.Config(replace(MODERN, embedding=16), Mask.Config(), Mlm.Config()),
    ],
    ids=["narrow generator", "rms", "narrow table"],
)
def test_what_only_electrain_computes(config: System.Config, tokenizer: Path, tmp_path: Path) -> None:
    """ModernBERT has no narrower token table and no RMSNorm; our own runs with them keep their networks."""
    (system,) = a_run(tmp_path / "run", tokenizer, config)
    made = opened(tmp_path / "run")
    trained = networks(system)
    network = trained.get("generator") or trained["bert"]
    assert (made.rtd is not None) == ("discriminator" in trained) and made.lm is not None
    real = IDS != 0
    with torch.no_grad():
        hidden = network.encoder(IDS, real)[real]
        expected = network.head(hidden, network.encoder.tokens.weight)
        torch.testing.assert_close(said(made)["lm"], expected, **CLOSE)
        generator = frozen(str(tmp_path / "run"), tokenizer)
        assert isinstance(generator, EncoderLm)
        again = generator.head(generator.encoder(IDS, real)[real], generator.encoder.tokens.weight)
        torch.testing.assert_close(again, expected, **CLOSE)
    part = "generator" if "generator" in trained else "bert"
    with pytest.raises(UserError, match=f"has no {part} that transformers can hold; it has: "):
        export(tmp_path / "run", tmp_path / "out", part)
    assert not (tmp_path / "out").exists()


def test_checkpoints(tokenizer: Path, tmp_path: Path) -> None:
    systems = a_run(tmp_path / "run", tokenizer, BERT, (10, 20))
    for which, step in (("latest", 20), (10, 10), ("20", 20)):
        made = opened(tmp_path / "run", which)
        assert made.step == step
        assert torch.equal(made.encoder.tokens.weight, systems[step // 10 - 1].encoder.tokens.weight)
    with pytest.raises(UserError, match="no checkpoint of step 30"):
        opened(tmp_path / "run", 30)


def test_fresh_weights(tokenizer: Path, tmp_path: Path) -> None:
    a_run(tmp_path / "run", tokenizer, ELECTRA)
    export(tmp_path / "run", tmp_path / "out")
    for place in (tmp_path / "run", tmp_path / "out"):
        trained = opened(place)
        torch.manual_seed(1)
        one, other = opened(place, fresh=True), opened(place, fresh=True)
        torch.manual_seed(1)
        again = opened(place, fresh=True)
        for made in (one, other):
            assert made.rtd is None and made.lm is None and not made.encoder.training
            assert made.encoder.config.layers == 2 and made.encoder.width == 32
            assert not torch.equal(made.encoder.tokens.weight, trained.encoder.tokens.weight)
        assert not torch.equal(one.encoder.tokens.weight, other.encoder.tokens.weight)
        if place.name == "out":  # a run is built first, which draws too
            assert torch.equal(one.encoder.tokens.weight, again.encoder.tokens.weight)


def test_what_is_no_logit_is_not_taken_for_one(tokenizer: Path, tmp_path: Path) -> None:
    """Electric's head has the form of the replaced-token head, and says an energy."""
    (system,) = a_run(tmp_path / "run", tokenizer, System.Config(SIZES, Unigram.Config(), Electric.Config()))
    made = opened(tmp_path / "run")
    assert made.rtd is None and made.lm is None and made.energy is not None
    assert torch.equal(made.energy.out.weight, system.objective.head.out.weight)


def test_a_frozen_generator(tokenizer: Path, tmp_path: Path) -> None:
    frozen = Frozen.Config(generator=EncoderLm.Config(replace(SIZES, layers=1)))
    (system,) = a_run(tmp_path / "run", tokenizer, System.Config(SIZES, frozen, Rtd.Config()))
    made = opened(tmp_path / "run")
    assert made.rtd is not None and made.lm is not None and len(made.lm.encoder.layers) == 1
    assert torch.equal(made.lm.head.bias, system.corruptor.generator.head.bias)


def test_a_fine_tuned_folder_has_no_heads(tokenizer: Path, tmp_path: Path) -> None:
    sizes = {"vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = ElectraForSequenceClassification(ElectraConfig(embedding_size=16, intermediate_size=8, **sizes)).eval()
    model.save_pretrained(tmp_path / "model")
    load_tokenizer(tokenizer).save_pretrained(tmp_path / "model")
    made = opened(tmp_path / "model")
    assert made.rtd is None and made.lm is None
    with torch.no_grad():
        theirs = model.electra(IDS, attention_mask=(IDS != 0).long()).last_hidden_state[IDS != 0]
    torch.testing.assert_close(said(made)["vectors"], theirs, **CLOSE)


def test_what_cannot_be_opened(tokenizer: Path, tmp_path: Path) -> None:
    a_run(tmp_path / "run", tokenizer, BERT)
    export(tmp_path / "run", tmp_path / "out")

    def refused(place: Path, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            opened(place)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "nothing", "no model could be found there")
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", r"no model could be found there \(neither run.json nor config.json\)")
    shutil.copytree(tmp_path / "out", tmp_path / "wordless")
    for path in (tmp_path / "wordless").glob("*token*"):
        path.unlink()
    refused(tmp_path / "wordless", "has no tokenizer; put")
    shutil.copytree(tmp_path / "out", tmp_path / "larger")
    more = {word: number for number, word in enumerate([*WORDS, "moon", "sun"])}
    BertTokenizerFast(vocab=more).save_pretrained(tmp_path / "larger")
    refused(tmp_path / "larger", "makes 15 tokens, its table has 13 rows")
    sizes = {"vocab_size": 13, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    RobertaForMaskedLM(RobertaConfig(intermediate_size=8, **sizes)).save_pretrained(tmp_path / "roberta")
    load_tokenizer(tokenizer).save_pretrained(tmp_path / "roberta")
    refused(tmp_path / "roberta", "is a roberta; only ELECTRA, BERT and ModernBERT")
    shutil.rmtree(tmp_path / "run" / "tokenizer")
    refused(tmp_path / "run", "no tokenizer could be loaded")
    BertTokenizerFast(vocab=more).save_pretrained(tmp_path / "run" / "tokenizer")
    refused(tmp_path / "run", r"\(15, 32\)")
