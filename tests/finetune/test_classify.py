"""A user's own tables: columns found, rows held out, figures, predictions; and what is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score

from electrain.errors import UserError
from electrain.finetune.classify import ClassifyTask, RegressTask
from electrain.finetune.own import held_out
from tests.finetune.kit import TOKENIZER, VOCAB, sure, wrote

REVIEWS = "id,Review,Sentiment\n7,the good film,good\n8,the bad film,bad\n9,a film,so-so\n10,good,good\n"


def classify(source: Path | str, name: str = "classify", **more: object) -> ClassifyTask:
    return ClassifyTask(name, source, TOKENIZER, VOCAB, **more)  # type: ignore[arg-type]


def regress(source: Path | str, **more: object) -> RegressTask:
    return RegressTask("regress", source, TOKENIZER, VOCAB, **more)  # type: ignore[arg-type]


def test_a_folder_of_three_splits(tmp_path: Path) -> None:
    wrote(tmp_path / "train.csv", REVIEWS)
    wrote(tmp_path / "valid.tsv", "id\tReview\tSentiment\n1\tbad\tbad\n2\tgood\tgood\n3\tthe film\tgood\n")
    wrote(tmp_path / "test.jsonl", '{"id": "x", "Review": "a film"}\n{"id": "y", "Review": "the film"}\n')
    task = classify(tmp_path)
    assert task.labels == ("bad", "good", "so-so") and task.unknown == ("test",) and task.judged == ("dev",)
    assert [row.target.tolist() for row in task.rows("train")] == [[1], [0], [2], [1]]
    assert task.rows("train")[0].ids.tolist() == TOKENIZER("the good film")["input_ids"]
    lines = "\n".join(task.about())
    assert "text in Review, label in Sentiment" in lines
    assert "train: 4 rows" in lines and "bad 1 (25.0%), good 2 (50.0%), so-so 1 (25.0%)" in lines
    said = [0, 1, 2]
    expected = f1_score([0, 1, 1], said, average="macro", zero_division=0.0)
    assert task.score("dev", sure(said, 3)) == pytest.approx({"accuracy": 2 / 3, "macro_f1": expected})
    (path,) = task.write("test", sure([2, 0], 3), tmp_path / "out")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["index"], row["prediction"]) for row in rows] == [("x", "so-so"), ("y", "bad")]
    assert sum(float(rows[0][f"p({label})"]) for label in task.labels) == pytest.approx(1, abs=1e-5)
    assert float(rows[0]["p(so-so)"]) == pytest.approx(np.exp(5) / (np.exp(5) + 2), abs=1e-5)


def test_pairs_and_two_classes(tmp_path: Path) -> None:
    """Classes that are numbers are in their order; of two there are F1 and Matthews too."""
    rows = "".join(f"the cat {k},the dog {k},{10 if k % 3 else 9}\n" for k in range(30))
    file = wrote(tmp_path / "all.csv", "premise,hypothesis,label\n" + rows)
    task = classify(file, "pair", dev=file)
    assert task.labels == ("9", "10") and task.rows("train")[1].second == len(TOKENIZER("the cat 1")["input_ids"])
    assert set(task.score("dev", sure([0] * 30, 2))) == {"accuracy", "macro_f1", "f1", "matthews"}
    one = classify(file, text="hypothesis", dev=file)
    assert one.rows("train")[1].ids.tolist() == TOKENIZER("the dog 1")["input_ids"]
    named = classify(file, "pair", text="hypothesis", second="premise", dev=file)
    assert named.rows("dev")[0].ids.tolist() == TOKENIZER("the dog 0", "the cat 0")["input_ids"]


def test_rows_held_out_are_a_function_of_their_texts() -> None:
    texts = [f"text {number % 900}" for number in range(1000)]
    out = held_out((texts,), 0.1)
    assert 60 <= out.sum() <= 140
    assert (out[:100] == out[900:]).all(), "equal texts are on one side"
    order = np.random.default_rng(0).permutation(1000)
    assert (held_out(([texts[row] for row in order],), 0.1) == out[order]).all()
    alone = [str(number) if chosen else "many" for number, chosen in enumerate(out)]
    with pytest.raises(UserError, match="1000 rows are too few"):
        held_out((texts,), 0.1, alone)  # all of them would be the only one of their class
    with pytest.raises(UserError, match=r"3 rows are too few to hold out 0\.1 of them; name a file with --dev"):
        held_out((["a", "b", "c"],), 0.1)


def test_without_a_dev_file_some_rows_are_held_out(tmp_path: Path) -> None:
    rows = "".join(f"the film {k},{'good' if k % 4 else 'bad'}\n" for k in range(200))
    task = classify(wrote(tmp_path / "t.csv", "text,label\n" + rows))
    assert len(task.rows("train")) + len(task.rows("dev")) == 200 and 8 <= len(task.rows("dev")) <= 40
    assert not set(task.parts["train"].texts[0]) & set(task.parts["dev"].texts[0])
    assert any("no dev file: " in line for line in task.about())
    for part in task.parts.values():
        assert [task.labels[k] for k in part.gold] == [
            "good" if int(text.split()[-1]) % 4 else "bad" for text in part.texts[0]
        ]


def test_regression_in_the_tables_own_unit(tmp_path: Path) -> None:
    wrote(tmp_path / "train.csv", "text,score\nthe cat,10\nthe dog,-10\nthe mat,5\n")
    wrote(tmp_path / "dev.csv", "text,score\na,20\nb,0\nc,3\nd,-4\n")
    wrote(tmp_path / "test.csv", "text\na\n")
    task = regress(tmp_path)
    assert [row.target.item() for row in task.rows("train")] == pytest.approx([1, 0, 0.75])
    assert task.rows("train")[0].target.dtype == np.float32 and task.labels == ()
    shown = np.array([1.2, 0.5, 0.4, 0.6], np.float32)
    said, gold = shown.astype(float) * 20 - 10, [20, 0, 3, -4]
    error = np.mean((said - gold) ** 2)
    expected = {"pearson": pearsonr(said, gold)[0], "spearman": spearmanr(said, gold)[0], "mse": error}
    found = task.score("dev", [(np.array([number]),) for number in shown])
    assert found == pytest.approx({**expected, "rmse": error**0.5}, rel=1e-5)
    (path,) = task.write("test", [(np.array([0.25], np.float32),)], tmp_path / "out")
    assert path.read_text() == "index\tprediction\n0\t-5\n"
    assert any("-10 to 10" in line for line in task.about())


@pytest.mark.parametrize(
    ("train", "dev", "more", "said"),
    [
        (REVIEWS, "Review,Sentiment\ngood,great\n", {}, r"dev\.csv, row 1 .*'great' does not occur in training"),
        (REVIEWS, "Review,Sentiment\ngood,good\n,bad\n", {}, r"dev\.csv, row 2 .*'Review' is empty"),
        (REVIEWS, "Review,Sentiment\ngood,\n", {}, r"row 1 .*'Sentiment' is empty"),
        (REVIEWS, "Text,Sentiment\ngood,good\n", {}, r"dev\.csv: no column 'Review'; its columns are: Text, Sent"),
        (REVIEWS, REVIEWS, {"label": "mood"}, "no column 'mood'; its columns are: id, Review, Sentiment"),
        (REVIEWS, REVIEWS, {"second": "id"}, "choose the task `pair`"),
        (REVIEWS, REVIEWS, {"name": "pair"}, "no two columns of texts by usual names"),
        (REVIEWS, REVIEWS, {"name": "other"}, "choose classify or pair"),
        ("text,mood\na,b\n", REVIEWS, {}, "no column for the label by a usual name .name one with --label.; its col"),
        ("a,b,label\nc,d,1\n", REVIEWS, {}, "no column of texts by a usual name"),
        ("text,label\na,x\nb,x\n", REVIEWS, {}, "'label' is 'x' in every row"),
        ("text,label\na,0.5\nb,1\n", REVIEWS, {}, r"does not look like classes .*'0\.5'.*`regress`"),
        ("", REVIEWS, {}, r"train\.csv: the file is empty"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, train: str, dev: str, more: dict[str, str], said: str) -> None:
    wrote(tmp_path / "train.csv", train)
    wrote(tmp_path / "dev.csv", dev)
    with pytest.raises(UserError, match=said) as error:
        classify(tmp_path, **more)
    assert "\n" not in str(error.value)


def test_bad_numbers_and_places(tmp_path: Path) -> None:
    words = wrote(tmp_path / "words.csv", "text,score\na,1\nb,high\n")
    with pytest.raises(UserError, match=r"words\.csv, row 2 \(line 3\): 'score' holds 'high', not a number"):
        regress(words)
    with pytest.raises(UserError, match="2 in every row"):
        regress(wrote(tmp_path / "same.csv", "text,score\na,2\nb,2.0\n"))
    with pytest.raises(UserError, match=r"no training file; there are: same\.csv, words\.csv"):
        regress(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        regress(tmp_path / "none.csv")
    good = wrote(tmp_path / "good.csv", "text,score\na,1\nb,2\n")
    with pytest.raises(UserError, match="regress, dev, row 2: the prediction is not a number"):
        regress(good, dev=good).score("dev", [(np.array([0.1]),), (np.array([np.inf]),)])
