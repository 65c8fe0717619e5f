"""GLUE's tasks: real files, GLUE's own format, names that others use, the score, the submission."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from sklearn.metrics import f1_score, matthews_corrcoef

from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.finetune.glue import SCORED, TASKS, GlueTask, NoData, glue_score
from electrain.finetune.heads import Classifier, Regressor
from electrain.finetune.tables import Table
from tests.finetune.kit import SIZES, TOKENIZER, VOCAB, real, sure, wrote


def task(name: str, source: Path | str, **more: object) -> GlueTask:
    return GlueTask(name, source, TOKENIZER, VOCAB, **more)  # type: ignore[arg-type]


# The published sizes and balance (shared/data/README.md; MNLI, QQP and QNLI are in part).
REAL = {
    "wnli": {"train": (323, 312), "dev": (40, 31)},
    "mrpc": {"train": (1194, 2474), "dev": (129, 279)},
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    made = task(name, real("glue"))
    for split, counts in REAL[name].items():
        assert tuple(np.bincount(made.parts[split].targets[:, 0])) == counts
    assert made.judged == ("dev",) and made.unknown == ()
    table = parquet.read_table(real("glue") / TASKS[name].title / "dev.parquet").to_pylist()
    for row, found in list(zip(table, made.rows("dev"), strict=True))[:50]:
        theirs = TOKENIZER(row["sentence1"], row["sentence2"], truncation=True, max_length=128)
        assert found.ids.tolist() == theirs["input_ids"] and found.second == theirs["token_type_ids"].index(1)
    if name == "wnli":
        assert any("dev: 71 rows" in line and "entailment 31 (43.7%)" in line for line in made.about())


def test_real_scores_and_sections() -> None:
    made = task("stsb", real("glue"))
    scores = np.array(parquet.read_table(real("glue") / "STS-B" / "dev.parquet")["label"].to_pylist())
    assert len(made.parts["train"].gold) == 5749 and made.epochs == 10
    np.testing.assert_allclose(made.parts["dev"].targets[:, 0] * 5, scores, rtol=1e-6)
    assert made.score("dev", [(np.array([s / 5], np.float32),) for s in scores]) == pytest.approx(
        {"pearson": 1, "spearman": 1}
    )
    with pytest.raises(NoData, match=r"no 'train' split of QNLI.*train_derived\.parquet.*--train"):
        task("qnli", real("glue"))
    with pytest.raises(NoData, match="no 'train' split of RTE; there are: MNLI"):
        task("rte", real("glue"))


# GLUE's own files: no header in CoLA, a lone quotation mark, names of its own, a word for a class.
OWN = {
    "cola": ("CoLA", {
        "train.tsv": 'gj04\t1\t\t"The cat" sat.\ngj04\t0\t*\t"Cat the sat.\n',
        "dev.tsv": "gj04\t0\t*\tSat the.\n", "test.tsv": "index\tsentence\n0\tThe mat.\n1\tMat.\n",
    }, [1, 0], '"The cat" sat.'),
    "mrpc": ("MRPC", {
        "msr_paraphrase_train.txt": "not read",
        "train.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\ta cat\tthe cat\r\n",
        "dev.tsv": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\ta\tb\n",
        "test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\ta\tb\n",
    }, [1], "a cat"),
    "qqp": ("QQP", {
        "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n9\t1\t2\tthe cat?\tthe dog?\t0\n"
        "10\t3\t4\tthe mat?\t\t0\n11\tbroken\n",
        "dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n9\t1\t2\ta?\tb?\t1\n",
        "test.tsv": "id\tquestion1\tquestion2\n0\ta?\tb?\n",
    }, [0], "the cat?"),
    "rte": ("RTE", {
        "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tthe cat\tcat\tentailment\n1\tmat\tdog\tnot_entailment\n",
        "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\ta\tb\n",
    }, [0, 1], "the cat"),
    "stsb": ("STS-B", {
        "train.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tg\tf\t2012\t1\tn\tn\ta cat\tcat\t2.500\n1\tg\tf\t2012\t1\tn\tn\tdog\tcat\t0.0\n",
        "dev.tsv": "index\tsentence1\tsentence2\tscore\n0\ta\tb\t5.000\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\ta\tb\n",
    }, [0.5, 0.0], "a cat"),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_glues_own_files(name: str, tmp_path: Path) -> None:
    folder, files, targets, first = OWN[name]
    for file, text in files.items():
        wrote(tmp_path / folder / file, text)
    made = task(name, tmp_path)
    assert [row.target[0] for row in made.rows("train")] == pytest.approx(targets)
    assert made.parts["train"].texts[0][0] == first and made.unknown == ("test",)
    assert [type(made.head(Bert(SIZES, VOCAB), 0.1))] == [Regressor if name == "stsb" else Classifier]
    notes = " ".join(made.about())
    if name == "qqp":
        assert "row 2 (line 3): a text is empty; 1 such rows left out" in notes and "line 4: 2 fields" in notes
    if name == "mrpc":
        assert "columns #1 String, #2 String, Quality read as sentence1, sentence2, label" in notes
    count = len(made.parts["test"].index)
    said = [(np.array([1.3], np.float32),)] * count if name == "stsb" else sure([1] * count, 2)
    (written,) = made.write("test", said, tmp_path / "out")
    answer = {"stsb": "5.000", "rte": "not_entailment"}.get(name, "1")
    assert written.name == f"{folder}.tsv"
    assert written.read_text() == "index\tprediction\n" + "".join(f"{row}\t{answer}\n" for row in range(count))


def test_both_sections_of_mnli(tmp_path: Path) -> None:
    """As the Hub calls them, in jsonl, with the file's task in its name; class names in another order."""
    lines = [
        {"sentence1": "the cat", "sentence2": w, "gold_label": w} for w in ("contradiction", "entailment", "neutral")
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for name in ("mnli.train", "mnli.valid", "mnli-mm.valid", "mnli.test_matched", "mnli_test_mismatched"):
        wrote(tmp_path / f"{name}.jsonl", text)
    made = task("mnli", tmp_path)
    assert made.judged == ("dev_matched", "dev_mismatched") and made.unknown == ("test_matched", "test_mismatched")
    assert made.parts["dev_mismatched"].gold.tolist() == [2, 0, 1]
    said = sure([2, 1, 0], 3)
    assert made.score("dev_matched", said) == {"accuracy": pytest.approx(1 / 3)}
    files = [made.write(split, said, tmp_path / "out")[0] for split in (*made.unknown, "dev_mismatched")]
    assert [file.name for file in files] == ["MNLI-m.tsv", "MNLI-mm.tsv", "MNLI-mm.dev.tsv"]
    assert files[0].read_text().split("\n")[1] == "0\tcontradiction"
    (tmp_path / "mnli-mm.valid.jsonl").unlink()
    assert task("mnli", tmp_path).judged == ("dev_matched",)


def test_the_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits and classes as the Hub has them; what is named is not looked for there."""
    asked = []

    def hub(name: str, config: str) -> dict[str, Table]:
        asked.append((name, config))
        names = {"label": ("entailment", "not_entailment")}
        found = {"train": [1, 0, 1], "validation": [0, 1, 1], "test": [-1, -1, -1]}
        texts = {"sentence1": ["the cat", "dog", "mat"], "sentence2": ["on", "the", "a"], "idx": [0, 1, 2]}
        return {key: Table(key, {**texts, "label": label}, names=names) for key, label in found.items()}

    monkeypatch.setattr("electrain.finetune.glue.read_hub", hub)
    made = task("rte", "")
    assert asked == [("nyu-mll/glue", "rte")] and made.unknown == ("test",)
    assert made.parts["dev"].gold.tolist() == [0, 1, 1] and len(made.rows("test")) == 3


def test_files_named_and_official_figures(tmp_path: Path) -> None:
    rows = [{"question": "a cat?", "sentence": "dog", "label": k % 2} for k in range(6)]
    for name in ("one", "two", "QQP/dev"):
        (tmp_path / "QQP").mkdir(exist_ok=True)
        renamed = [{"question1": row["question"], "question2": "mat?", "label": row["label"]} for row in rows]
        parquet.write_table(pyarrow.Table.from_pylist(renamed), tmp_path / f"{name}.parquet")
    made = task("qqp", tmp_path, train=(tmp_path / "one.parquet", tmp_path / "two.parquet"))
    assert len(made.rows("train")) == 12
    said = [1, 1, 0, 1, 0, 0]
    gold = [row["label"] for row in rows]
    expected = {"accuracy": np.mean(np.equal(said, gold)), "f1": f1_score(gold, said)}
    assert made.score("dev", sure(said, 2)) == pytest.approx(expected)
    alone = task("qqp", tmp_path, train=(tmp_path / "one.parquet",), dev=tmp_path / "two.parquet")
    assert len(alone.rows("dev")) == 6
    wrote(tmp_path / "CoLA" / "train.tsv", OWN["cola"][1]["train.tsv"])
    wrote(tmp_path / "CoLA" / "dev.csv", "sentence,label\na,1\nb,0\nc,1\n")
    cola = task("cola", tmp_path)
    assert cola.score("dev", sure([1, 0, 0], 2)) == {"matthews": pytest.approx(matthews_corrcoef([1, 0, 1], [1, 0, 0]))}
    with pytest.raises(UserError, match=r"cola, dev, row 2: .*not a number"):
        cola.score("dev", [(np.array([0, 1]),), (np.array([np.nan, 1]),), (np.array([0, 1]),)])


def test_the_score() -> None:
    medians = {name: number / 10 for number, name in enumerate(SCORED)}
    assert glue_score({**medians, "wnli": 0.1}).value == pytest.approx(sum(medians.values()) / 8)
    assert glue_score(medians).missing == () and len(SCORED) == 8 and set(TASKS) - set(SCORED) == {"wnli"}
    del medians["rte"], medians["cola"]
    value, missing = glue_score(medians)
    assert missing == ("cola", "rte") and value == pytest.approx(sum(medians.values()) / 6)
    assert math.isnan(glue_score({}).value)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("dev.csv", "sentence,label\na,1\n ,0\n", r"dev\.csv, row 2 \(line 3\): 'sentence' is empty"),
        ("dev.csv", "sentence,label\na,2\n", r"row 1 .*'2' is none of SST-2's; give 0 to 1 or negative, positive"),
        ("dev.csv", "sentence,label\na,-1\n", "'-1' is none of SST-2's.*goes by the name test"),
        ("dev.csv", "sentence,label\na,\n", "row 1 .*'label' is empty"),
        ("dev.csv", "sentence,verdict\na,1\n", "no column label .*its columns are: sentence, verdict"),
        ("dev.csv", "phrase,label\na,1\n", "no columns sentence .*its columns are: phrase, label"),
        ("dev.csv", "", "empty"),
        ("notes.txt", "x", "no 'dev' split of SST-2; there are: notes.txt, train.csv"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, file: str, text: str, said: str) -> None:
    wrote(tmp_path / "sst2" / "train.csv", "sentence,label\ngood film,1\nbad film,negative\n")
    wrote(tmp_path / "sst2" / file, text)
    with pytest.raises(UserError, match=said) as error:
        task("sst2", tmp_path)
    assert "\n" not in str(error.value)


def test_unknown_task_and_score_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'colla'; choose one of cola, sst2"):
        task("colla", tmp_path)
    for split in ("train", "dev"):
        wrote(tmp_path / f"stsb_{split}.csv", "sentence1,sentence2,score\na,b,5.5\n")
    with pytest.raises(UserError, match=r"row 1 .*'score' is 5\.5, outside 0 to 5"):
        task("stsb", tmp_path)
