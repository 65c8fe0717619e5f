"""`electrain finetune` as a user runs it: several seeds, going on, what is refused, and the folder that is left."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    ElectraConfig,
    ElectraForPreTraining,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
)

from electrain.cli import main
from electrain.finetune.squad import saved
from tests.commands import give
from tests.finetune.kit import TOKENIZER, VOCAB, wrote

QUICK = ["--batch", "16", "--lr", "3e-3", "--compute.compile", "False", "--compute.device", "cpu"]
QUICK += ["--compute.dtype", "float32", "--length", "32"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "electra"
    sizes = ElectraConfig(
        vocab_size=VOCAB.size, embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    ElectraForPreTraining(sizes).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A table in which one word decides."""
    random = np.random.default_rng(0)
    lines = ["text,label"]
    for number in range(240):
        words = random.choice(["the", "cat", "dog", "sat", "film", "mat", "paris"], 6).tolist()
        words[random.integers(6)] = ("bad", "good")[number % 2]
        lines.append(f"{' '.join(words)} {number},{('negative', 'positive')[number % 2]}")
    return wrote(tmp_path / "reviews.csv", "\n".join(lines) + "\n")


def command(words: tuple[object, ...]) -> list[str]:
    """A fine-tuning's words with QUICK in them, where what follows may say otherwise."""
    return ["finetune", *map(str, (words[0], *QUICK, *words[1:]))]


def said(capsys: pytest.CaptureFixture, *words: object) -> str:
    main(command(words))
    both = capsys.readouterr()
    return both.out + both.err


def refused(capsys: pytest.CaptureFixture, *words: object) -> str:
    with pytest.raises(SystemExit) as left:
        main(command(words))
    both = capsys.readouterr()
    assert left.value.code == 2 and both.out == ""
    last = both.err.splitlines()[-1]
    assert last.startswith("electrain: ")
    return last


def settings(folder: Path) -> dict:
    return json.loads((folder / "task.json").read_text())["settings"]


def results(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_seeds_are_added_and_what_is_finished_is_left_alone(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    words = ("classify", "--model", model, "--data", reviews, "--out", out, "--epochs", 6.0)
    first = said(capsys, *words, "--seeds", 1)
    assert "negative" in first and "accuracy" in first and f"results: {out}" in first
    before = (out / "classify" / "results.jsonl").read_text()
    again = said(capsys, *words, "--seeds", 3)
    assert "seed 0 is finished" in again
    assert (out / "classify" / "results.jsonl").read_text().startswith(before)
    found = results(out / "classify")
    assert [line["seed"] for line in found] == [0, 1, 2]
    values = [line["value"] for line in found]
    assert min(values) > 0.8, values  # one word decides
    summary = json.loads((out / "classify" / "summary.json").read_text())
    assert summary["median"] == np.median(values) and summary["mean"] == pytest.approx(np.mean(values))
    assert summary["sd"] == pytest.approx(np.std(values, ddof=1)) and summary["runs"] == values
    kept = [path.parent.name for path in (out / "classify").glob("seed-*/model")]
    assert kept == [f"seed-{values.index(max(values))}"]
    assert not list(out.rglob("checkpoints"))
    wrong = refused(capsys, *words, "--seeds", 3, "--dropout", 0.2)
    assert "holds fine-tunings with other settings (dropout: 0.1 there, 0.2 now)" in wrong
    assert results(out / "classify") == found
    more = said(capsys, *words, "--seeds", 4, "--compute.threads", torch.get_num_threads())  # as on another machine
    assert "seed 2 is finished" in more and [line["seed"] for line in results(out / "classify")] == [0, 1, 2, 3]
    wrong = refused(capsys, *words, "--compute.dtype", "bfloat16")
    assert "other settings (dtype: float32 there, bfloat16 now)" in wrong


def test_a_fine_tuning_that_failed_gives_its_place_to_another(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    words = ("classify", "--model", model, "--data", reviews, "--out", out, "--epochs", 6.0)
    assert "the loss is not finite" in refused(capsys, *words, "--weight-decay", 1e30)
    assert settings(out / "classify")["weight_decay"] == 1e30
    checkpoint = out / "classify" / "seed-0" / "checkpoints" / "step-000005"
    checkpoint.mkdir(parents=True)  # of one that was killed: hours may lie in it
    assert "other settings (weight_decay: 1e+30 there, 0.0 now)" in refused(capsys, *words)
    checkpoint.rmdir()
    assert "accuracy" in said(capsys, *words)
    assert settings(out / "classify")["weight_decay"] == 0.0


@pytest.mark.parametrize("head", ["dense", "linear"])
def test_transformers_loads_what_is_left(
    head: str, model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """And gives the probabilities that were written as predictions."""
    text = reviews.read_text().splitlines()
    test = wrote(tmp_path / "data" / "test.csv", "\n".join([text[0], *text[1:9]]) + "\n")
    wrote(tmp_path / "data" / "train.csv", "\n".join(text) + "\n")
    out = tmp_path / "out"
    said(capsys, "classify", "--model", model, "--data", test.parent, "--out", out, "--epochs", 2.0, "--head", head)
    folder = out / "classify" / "seed-0" / "model"
    kind = ElectraForSequenceClassification if head == "dense" else ElectraForTokenClassification
    theirs, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert theirs.config.id2label == {0: "negative", 1: "positive"} and theirs.config.architectures == [kind.__name__]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = [line.split("\t") for line in (out / "classify" / "seed-0" / "test.tsv").read_text().splitlines()]
    assert lines[0] == ["index", "prediction", "p(negative)", "p(positive)"] and len(lines) == 9
    for line, row in zip(lines[1:], text[1:9], strict=True):
        with torch.no_grad():
            logits = theirs.eval()(**tokenizer(row.split(",")[0], return_tensors="pt")).logits
        logits = logits if head == "dense" else logits[:, 0]  # the paper's head reads [CLS]
        shares = logits.softmax(-1)[0].tolist()
        assert [float(word) for word in line[2:]] == pytest.approx(shares, abs=2e-5)
        assert line[1] == theirs.config.id2label[int(logits.argmax())]


def test_a_head_that_transformers_has_not_is_told_before_training(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ("classify", "--model", model, "--data", reviews, "--epochs", 2.0, "--head", "mean")
    told = "classify: transformers has no head over an ELECTRA that reads the mean; only the results will be kept"
    assert told not in said(capsys, *words, "--out", tmp_path / "none", "--keep", "none")
    lines = said(capsys, *words, "--out", tmp_path / "best").splitlines()
    assert lines.index(told) < min(number for number, line in enumerate(lines) if line.startswith("seed 0, step "))
    assert (tmp_path / "best" / "classify" / "summary.json").exists() and not list(tmp_path.rglob("model"))


def test_a_number_comes_out_in_the_user_s_unit(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [f"{'good ' * (number % 5 + 1)}film {number}\t{20 + 10 * (number % 5)}" for number in range(80)]
    data = wrote(tmp_path / "stars.tsv", "\n".join(["text\tstars", *rows]) + "\n")
    out = tmp_path / "out"
    said(capsys, "regress", "--model", model, "--data", data, "--label", "stars", "--out", out, "--epochs", 2.0)
    folder = out / "regress" / "seed-0" / "model"
    theirs = ElectraForSequenceClassification.from_pretrained(folder).eval()
    assert theirs.config.problem_type == "regression" and theirs.config.num_labels == 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        number = theirs(**tokenizer("good good good film 7", return_tensors="pt")).logits.item()
    assert 10 < number < 70


def test_a_tagger_loads(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lines = []
    for number in range(60):
        lines += ["the DT O", f"{('cat', 'dog')[number % 2]} NN O", "sat VB O", "on IN O", "paris NP B-LOC", ""]
    data = tmp_path / "data"
    wrote(data / "train.txt", "\n".join(lines))
    wrote(data / "dev.txt", "\n".join(lines[:60]))
    out = tmp_path / "out"
    said(capsys, "tag", "--model", model, "--data", data, "--out", out, "--epochs", 8.0)
    (found,) = results(out / "tag")
    assert found["metric"] == "f1" and found["value"] > 0.9
    folder = out / "tag" / "seed-0" / "model"
    theirs, report = ElectraForTokenClassification.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and set(theirs.config.label2id) == {"O", "B-LOC"}
    tokens = AutoTokenizer.from_pretrained(folder)("the cat sat on paris", return_tensors="pt")
    with torch.no_grad():
        classes = theirs.eval()(**tokens).logits.argmax(-1)[0, 1:-1].tolist()
    assert [theirs.config.id2label[number] for number in classes] == ["O", "O", "O", "O", "B-LOC"]


def squad(path: Path, count: int, silent: bool) -> Path:
    questions = []
    for number in range(count):
        passage = f"the cat sat on mat {number}. paris good film."
        answers = [{"text": "paris", "answer_start": passage.index("paris")}]
        empty = silent and number % 3 == 0
        entry = {"id": f"{path.stem}{number}", "question": "dog?" if empty else "the cat?"}
        questions.append(
            {"context": passage, "qas": [{**entry, "answers": [] if empty else answers, "is_impossible": empty}]}
        )
    return wrote(path, json.dumps({"version": "v2.0", "data": [{"title": "x", "paragraphs": questions}]}))


@pytest.mark.parametrize("task", ["squad", "squad2"])
def test_a_question_answerer_is_read_back(
    task: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train = squad(tmp_path / "train.json", 24, task == "squad2")
    dev = squad(tmp_path / "dev.json", 6, task == "squad2")
    out = tmp_path / "out"
    words = (task, "--model", model, "--train", train, "--dev", dev, "--out", out, "--epochs", 1.0, "--length", 96)
    main(["finetune", *map(str, words), *QUICK[:-2]])
    folder = out / task / "seed-0" / "model"
    tuned, vocab = saved.load(folder)
    assert vocab == VOCAB and (tuned.head.answerability is not None) == (task == "squad2")
    body = ElectraModel.from_pretrained(folder).eval()
    ids = torch.tensor([[2, 8, 9, 3, 12, 14, 15, 3]])
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    with torch.no_grad():
        wanted = body(input_ids=ids, token_type_ids=segments).last_hidden_state
        torch.testing.assert_close(tuned.encoder(ids, ids > 0, segments), wanted, rtol=1e-4, atol=1e-5)
    files = {path.name for path in (out / task / "seed-0").iterdir()}
    assert {"predictions.json", "nbest.json"} <= files and ("null_odds.json" in files) == (task == "squad2")
    metrics = results(out / task)[0]["scores"]["dev"]
    assert {"exact", "f1"} <= set(metrics)


WRONG: list[tuple[Callable[[Path], tuple], str]] = [
    (lambda at: ("speech", "--data", at), "there is no task 'speech'; choose one of glue, cola"),
    (lambda at: ("classify",), "finetune classify: name your data with --data"),
    (lambda at: ("classify", "--data", at / "none.csv"), "no such file or folder; check --data"),
    (lambda at: ("mrpc", "--data", at), "no 'train' split of MRPC"),
    (lambda at: ("classify", "--data", at / "reviews.csv", "--label", "stars"), "stars"),
]


@pytest.mark.parametrize(("words", "line"), WRONG)
def test_bad_input_is_one_line(
    words: Callable[[Path], tuple],
    line: str,
    model: Path,
    reviews: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / "out"
    assert line in refused(capsys, *words(reviews.parent), "--model", model, "--out", out)
    assert not out.exists()


def test_rows_longer_than_the_encoder_reads(
    model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["classify", "--model", model, "--data", reviews, "--out", tmp_path / "out", "--length", 129]
    left = give(capsys, "finetune", *words)
    assert left.code == 2 and left.said == (
        "electrain: --length 129: the encoder has 128 positions; choose 128 or less\n"
    )


def test_a_model_that_is_none(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    wrong = refused(capsys, "classify", "--data", reviews, "--model", tmp_path / "none", "--out", tmp_path / "out")
    assert "no model could be found there" in wrong
    assert not (tmp_path / "out").exists()


def test_all_of_glue_skips_what_is_not_there_and_what_is_finished(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, out = tmp_path / "glue", tmp_path / "out"
    for task, header in (("SST-2", "sentence\tlabel"), ("CoLA", "sentence\tlabel")):
        rows = [f"the {('bad', 'good')[number % 2]} film {number}\t{number % 2}" for number in range(48)]
        for split in ("train", "dev"):
            wrote(data / task / f"{split}.tsv", "\n".join([header, *rows]) + "\n")
    words = ("glue", "--model", model, "--data", data, "--out", out, "--epochs", 2.0)
    first = said(capsys, *words)
    assert "rte: left out" in first and "mean of 2 tasks, without mrpc" in " ".join(first.split())
    lines = {task: (out / task / "results.jsonl").read_text() for task in ("sst2", "cola")}
    again = said(capsys, *words)
    assert again.count("seed 0 is finished") == 2
    assert lines == {task: (out / task / "results.jsonl").read_text() for task in ("sst2", "cola")}
