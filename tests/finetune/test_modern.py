"""A modern encoder fine-tuned: its heads are ModernBERT's, from a run's folder and from a published one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
)

from electrain import checkpoint
from electrain.batch import Batch
from electrain.cli import main
from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Layer, Modern
from electrain.finetune.export import to_transformers
from electrain.finetune.heads import Classifier, Regressor, Tagger
from electrain.finetune.model import Tuned, copied
from electrain.finetune.squad import saved
from electrain.finetune.squad.head import Answerability, SpanHead
from electrain.objectives.rtd import Rtd
from electrain.randomness import row_keys
from electrain.run import Record, Run
from electrain.system import System
from tests.finetune.kit import TOKENIZER, VOCAB, wrote
from tests.finetune.test_conduct import QUICK, results, squad
from tests.finetune.toy import Toy

SIZES = Modern.Config(layers=3, hidden=32, ffn=24, heads=2, embedding=32, positions=128, window=4, global_every=2)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TEXTS = ["the cat sat on the mat.", "paris", "good film, bad dog singing on mats 12"]


class Named(Toy):
    """A task of three classes, or of numbers from 1 to 5."""

    labels = ("a", "b", "c")
    unit = (1.0, 5.0)


def shaken(head: Any, encoder: Modern) -> Tuned:
    """Weights far from their small start, so that a difference shows."""
    model = Tuned(encoder, head).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def fed(tokenizer: Any) -> tuple[Batch, dict[str, torch.Tensor]]:
    words = dict(tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False))
    real = words["attention_mask"].bool()
    return Batch(words["input_ids"], torch.zeros_like(real).long(), real, real, row_keys(0, 0, torch.arange(3))), words


@pytest.mark.parametrize("kind", ["class", "number", "tags", "class, mean", "number, mean"])
def test_transformers_says_the_same(kind: str, tmp_path: Path) -> None:
    encoder = copied(Modern(SIZES, VOCAB), VOCAB, 0.1)
    assert isinstance(encoder, Modern)
    made: dict[str, tuple[nn.Module, Any]] = {
        "class": (Classifier(encoder, 3, 0.2), ModernBertForSequenceClassification),
        "number": (Regressor(encoder, 0.2), ModernBertForSequenceClassification),
        "tags": (Tagger(encoder, 3, 0.2), ModernBertForTokenClassification),
        "class, mean": (Classifier(encoder, 3, 0.2, "mean"), ModernBertForSequenceClassification),
        "number, mean": (Regressor(encoder, 0.2, "mean"), ModernBertForSequenceClassification),
    }
    head, kind_of_theirs = made[kind]
    model = shaken(head, encoder)
    assert to_transformers(model, VOCAB, TOKENIZER, tmp_path / "out", Named(), "card")
    theirs, report = kind_of_theirs.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert theirs.config.classifier_dropout == 0.2 and theirs.config.mlp_dropout == 0.1
    batch, words = fed(AutoTokenizer.from_pretrained(tmp_path / "out"))
    with torch.no_grad():
        (said,) = model.predict(batch)
        wanted = theirs.eval()(**words).logits
    said = 1 + 4 * said if kind.startswith("number") else said  # in the task's unit
    torch.testing.assert_close(*((x[batch.real] if kind == "tags" else x) for x in (said, wanted)), **CLOSE)


def test_what_transformers_has_not_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    encoder = Modern(SIZES, VOCAB)
    normed = Modern(replace(SIZES, norm="rms"), VOCAB)
    old = Bert(Bert.Config(layers=1, hidden=32, ffn=32, heads=2, embedding=32), VOCAB)
    for model, why in (
        (Tuned(old, Classifier(old, 3, 0.1, "mean")), "no head over an ELECTRA that reads the mean"),
        (Tuned(encoder, Classifier(encoder, 3, 0.1, "linear")), "no linear head over a ModernBERT"),
        (Tuned(normed, Tagger(normed, 3, 0.1)), "no such encoder (Modern)"),
    ):
        assert not to_transformers(model, VOCAB, TOKENIZER, tmp_path / "out", Named(), "")
        assert why in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_dropout_is_what_was_asked_for() -> None:
    encoder = Modern(SIZES, VOCAB)
    made = copied(encoder, VOCAB, 0.3)
    assert isinstance(made, Modern) and made.config == replace(SIZES, dropout=0.3)
    assert [layer.dropout for layer in made.layers if isinstance(layer, Layer)] == [0.3] * 3
    for name, value in encoder.state_dict().items():
        assert torch.equal(made.state_dict()[name], value)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModernBERT as the Hub has it: its table has more rows than its tokenizer tokens."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published") / "modernbert"
    sizes = ModernBertConfig(
        vocab_size=VOCAB.size + 5, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=256, local_attention=8, global_attn_every_n_layers=2, pad_token_id=VOCAB.pad,
        cls_token_id=VOCAB.cls, sep_token_id=VOCAB.sep, bos_token_id=VOCAB.cls, eos_token_id=VOCAB.sep,
    )  # fmt: skip
    ModernBertForMaskedLM(sizes).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def test_a_published_modernbert_answers_questions(published: Path, tmp_path: Path) -> None:
    train, dev = squad(tmp_path / "train.json", 24, True), squad(tmp_path / "dev.json", 6, True)
    out = tmp_path / "out"
    words = ("squad2", "--model", published, "--train", train, "--dev", dev, "--out", out, "--epochs", 1.0)
    main(["finetune", *map(str, words), "--length", "96", *QUICK[:-2]])
    folder = out / "squad2" / "seed-0" / "model"
    tuned, vocab = saved.load(folder)
    assert vocab == replace(VOCAB, size=VOCAB.size + 5) and isinstance(tuned.encoder, Modern)
    assert tuned.encoder.config.positions == 256
    body, report = ModernBertModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    batch, given = fed(AutoTokenizer.from_pretrained(folder))
    with torch.no_grad():
        wanted = body.eval()(**given).last_hidden_state[batch.real]
        torch.testing.assert_close(tuned.encoder(batch.ids, batch.real)[batch.real], wanted, **CLOSE)
    assert {"exact", "f1", "best_f1"} <= set(results(out / "squad2")[0]["scores"]["dev"])


def test_the_span_head_is_read_back(tmp_path: Path) -> None:
    encoder = Modern(SIZES, VOCAB)
    model = shaken(SpanHead(encoder, Answerability(encoder)), encoder)
    assert to_transformers(model, VOCAB, TOKENIZER, tmp_path / "out", Named(), "card")
    again, vocab = saved.load(tmp_path / "out")
    assert vocab == VOCAB
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def ran(folder: Path) -> Path:
    """A run's folder, with a checkpoint."""
    TOKENIZER.save_pretrained(folder / "run" / "tokenizer")
    system = System.Config(SIZES, Joint.Config(width=1.0), Rtd.Config(), weight=50.0)
    Record(Run(system, length=16), "data", "0" * 64, "the command", {}, "a machine").save(folder / "run")
    torch.manual_seed(0)
    made = system.build(VOCAB)
    checkpoint.save(folder / "run", 10, made, torch.optim.AdamW(made.parameters()), {})
    return folder / "run"


def test_a_run_of_ours_is_read_by_its_mean(tmp_path: Path) -> None:
    """Unless said, and so by transformers, with the probabilities that were written as predictions."""
    lines = [f"the {('cat', 'dog')[number % 2]} sat,{('no', 'yes')[number % 2]}" for number in range(48)]
    table = wrote(tmp_path / "data" / "train.csv", "\n".join(["text,label", *lines]) + "\n")
    for split in ("dev", "test"):
        wrote(tmp_path / "data" / f"{split}.csv", "\n".join(["text,label", *lines[:8]]) + "\n")
    run, out = ran(tmp_path), tmp_path / "out"
    words = ("classify", "--model", run, "--data", table.parent, "--out", out, "--epochs", 2.0)
    main(["finetune", *map(str, words), *QUICK])
    theirs = ModernBertForSequenceClassification.from_pretrained(out / "classify" / "seed-0" / "model").eval()
    assert theirs.config.classifier_pooling == "mean"
    tokens = AutoTokenizer.from_pretrained(out / "classify" / "seed-0" / "model")
    given = tokens([line.split(",")[0] for line in lines[:8]], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        shares = theirs(**given).logits.softmax(-1)
    written = [line.split("\t")[2:] for line in (out / "classify" / "seed-0" / "test.tsv").read_text().splitlines()[1:]]
    torch.testing.assert_close(torch.tensor([[*map(float, row)] for row in written]), shares, rtol=0, atol=2e-5)
    assert json.loads((out / "classify" / "task.json").read_text())["settings"]["head"] == "mean"


def test_a_run_of_ours_tags(tmp_path: Path) -> None:
    """From the run's folder to a ModernBertForTokenClassification that finds the one place name."""
    lines = []
    for number in range(60):
        lines += ["the DT O", f"{('cat', 'dog')[number % 2]} NN O", "sat VB O", "on IN O", "paris NP B-LOC", ""]
    wrote(tmp_path / "data" / "train.txt", "\n".join(lines))
    wrote(tmp_path / "data" / "dev.txt", "\n".join(lines[:60]))
    run, out = ran(tmp_path), tmp_path / "out"
    words = ("tag", "--model", run, "--data", tmp_path / "data", "--out", out, "--epochs", 8.0)
    main(["finetune", *map(str, words), *QUICK])
    (found,) = results(out / "tag")
    assert found["value"] > 0.9, found
    theirs = ModernBertForTokenClassification.from_pretrained(out / "tag" / "seed-0" / "model").eval()
    tokens = AutoTokenizer.from_pretrained(out / "tag" / "seed-0" / "model")(
        "the cat sat on paris", return_tensors="pt"
    )
    with torch.no_grad():
        classes = theirs(**tokens).logits.argmax(-1)[0, 1:-1].tolist()
    assert [theirs.config.id2label[number] for number in classes] == ["O", "O", "O", "O", "B-LOC"]
