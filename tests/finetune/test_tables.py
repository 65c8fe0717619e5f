"""Tables of every kind hold the same rows; texts are encoded as the tokenizer itself does; bad files get one line."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from pyarrow import parquet

from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.splits import files_of, split_of
from electrain.finetune.tables import read_hub, read_table
from electrain.finetune.texts import core_of, encode
from electrain.vocab import Vocab
from tests.finetune.kit import TOKENIZER, VOCAB, wrote

ROWS = [('a cat, "the" cat', "good"), ("two\u2028parts; \x85 end", "bad"), ("ünïcode 😀", "good")]


def test_one_table_in_five_forms(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    with gzip.open(tmp_path / "t.tsv.gz", "wt", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("text", "label"), *ROWS])
    objects = [{"text": text, "label": label} for text, label in ROWS]
    wrote(tmp_path / "t.jsonl", "\n".join(json.dumps(item, ensure_ascii=False) for item in objects) + "\n")
    wrote(tmp_path / "t.json", json.dumps(objects))
    parquet.write_table(pyarrow.Table.from_pylist(objects), tmp_path / "t.parquet")
    for name in ("t.csv", "t.tsv.gz", "t.jsonl", "t.json", "t.parquet"):
        table = read_table(tmp_path / name)
        assert list(zip(*(table.columns[key] for key in ("text", "label")), strict=True)) == ROWS, name
    assert read_table(tmp_path / "t.csv").at(2) == f"{tmp_path / 't.csv'}, row 3 (line 4)"


def test_quotation_marks_in_a_tsv(tmp_path: Path) -> None:
    """A line that begins with a mark and never closes it is text; all marks are where quoting is off."""
    loose = wrote(tmp_path / "a.tsv", 'text\tlabel\n"The pie\t1\n"both" ends\t0\n')
    table = read_table(loose)
    assert table.columns["text"] == ['"The pie', '"both" ends'] and "read as text" in table.notes[0]
    neat = wrote(tmp_path / "b.tsv", 'text\tlabel\n"a ""b"" c"\t1\n')
    assert read_table(neat).columns["text"] == ['a "b" c']
    assert read_table(neat, quoting="off").columns["text"] == ['"a ""b"" c"']


def test_other_separators_headless_and_ragged(tmp_path: Path) -> None:
    table = read_table(wrote(tmp_path / "a.csv", "\ufefftext;label\r\na, b;1\r\n"))
    assert table.columns == {"text": ["a, b"], "label": ["1"]} and "semicolons" in table.notes[0]
    bare = wrote(tmp_path / "b.tsv", "x\t1\tone\ny\t0\ttwo\nz\t1\n")
    table = read_table(bare, headless=("source", "label", "sentence"), ragged="skip")
    assert table.columns["sentence"] == ["one", "two"]
    assert "line 3: 2 fields where the header has 3: left out" in table.notes[0]
    headed = wrote(tmp_path / "c.tsv", "id\tlabel\tsentence\ny\t0\ttwo\n")
    assert read_table(headed, headless=("source", "label", "sentence")).columns["sentence"] == ["two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"text,label\n", "no rows"),
        ("a.csv", b"text,label\nok,1\nb\xe4d,1\n", "line 3: not UTF-8"),
        ("a.csv", b"text,label\na,b,1\n", "line 2: 3 fields where the header has 2"),
        ("a.csv", b'text,label\n"open,1\n', "quotation marks"),
        ("a.csv", b"text,text\na,b\n", "two columns are called 'text'"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", b"3\n", "line 1: not a JSON object"),
        ("a.parquet", b"no", "not a readable parquet file"),
        ("a.csv.gz", b"no", "cannot be read"),
        ("a.xlsx", b"no", "a table ends in"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_table(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / f"other-{name}")


def test_bad_cells(tmp_path: Path) -> None:
    table = read_table(wrote(tmp_path / "a.jsonl", '{"t": "a", "y": 1}\n{"t": " ", "y": 2.5}\n{"t": 7, "y": "x"}\n'))
    for read, said in (
        (lambda: columns.texts(table, "t"), "row 2 .line 2.: 't' is empty"),
        (lambda: columns.texts(table, "y"), "row 1 .*holds int 1, not a text"),
        (lambda: columns.words(table, "y"), "row 2 .*the number 2.5, not a class"),
        (lambda: columns.numbers(table, "y"), "row 3 .*'x', not a number"),
        (lambda: columns.numbers(table.rows([0, 1]), "y", 0.0, 2.0), "row 2 .*2.5, outside 0 to 2"),
        (lambda: columns.named(table, "z"), "no column 'z'; its columns are: t, y"),
    ):
        with pytest.raises(UserError, match=said):
            read()


def test_class_names_of_a_data_set(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    made = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    (tmp_path / "hub").mkdir()
    made.to_parquet(tmp_path / "hub" / "train.parquet")
    for table in (read_table(tmp_path / "hub" / "train.parquet"), read_hub(str(tmp_path / "hub"))["train"]):
        assert columns.words(table, "label") == ["yes", "no"]
    with pytest.raises(UserError, match="neither a folder here nor a readable Hub data set"):
        read_hub("nobody/has-this-one")


def test_names_of_splits(tmp_path: Path) -> None:
    known = {"validation": "dev", "Dev": "dev", "TRAIN": "train", "train-00000-of-00002": "train", "notes": None}
    assert {name: split_of(name) for name in known} == known
    for part in ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "valid.csv.gz", ".test.csv"):
        wrote(tmp_path / part, "x")
    found = files_of(tmp_path)
    assert [path.name for path in found["train"]] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert found["dev"][0].name == "valid.csv.gz" and "test" not in found
    wrote(tmp_path / "dev.csv", "x")
    with pytest.raises(UserError, match=r"dev\.csv, valid\.csv\.gz all look like the split 'dev'"):
        files_of(tmp_path)


def test_encoding_is_the_tokenizers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("electrain.finetune.texts.CHUNK", 7)
    random = np.random.default_rng(0)
    words = np.array(["the", "cat", "sat", "singing", "Paris!", "mat.", "[SEP]", "ü"])
    first, second = ([" ".join(random.choice(words, size)) for size in random.integers(1, 30, 40)] for _ in range(2))
    targets = np.arange(40)[:, None]
    core = core_of(TOKENIZER, VOCAB)
    for texts in ((first,), (first, second)):
        rows = encode(core, texts, targets, 24)
        theirs = TOKENIZER(*texts, truncation=True, max_length=24)
        whole = TOKENIZER(*texts)["input_ids"]
        assert rows.cut == sum(len(ids) > 24 for ids in whole) > 0
        assert len(rows) == 40 and rows[-1].target.tolist() == rows[np.int64(39)].target.tolist() == [39]
        for row, ids, types in zip(rows, theirs["input_ids"], theirs["token_type_ids"], strict=True):
            assert row.ids.tolist() == ids and row.ids.dtype == np.int32
            assert [int(place >= row.second) for place in range(len(ids))] == types


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match="not the checkpoint's vocabulary"):
        core_of(TOKENIZER, Vocab(size=20, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4)))
    with pytest.raises(UserError, match="too short"):
        encode(core_of(TOKENIZER, VOCAB), (["a"],), np.zeros((1, 1)), 3)
