import csv
import gzip
import io
import json
import shlex
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from electrain.data import pieces
from electrain.data.corpus import Layout, list_files
from electrain.data.pieces import cut
from electrain.data.reading import Rules, Tally, _parts, read
from electrain.errors import UserError

FILES, REFUSING = Layout(), Rules()
LINES = Layout(documents="blank-lines")
EACH_LINE = Layout(documents="lines")


def documents(source: str | Path, layout: Layout = FILES, rules: Rules = REFUSING, tally: Tally | None = None):
    """All that is read from a source, task by task."""
    tasks = cut([list_files(str(source), layout)], layout)
    return [text for pieces in tasks for piece in pieces for text in read(piece, layout, rules, tally or Tally())]


def jsonl(records: list) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def test_text_files_of_a_folder_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2.txt").write_text("second\n\nstill second")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("not read")
    (tmp_path / "z.txt").write_text("")
    assert documents(tmp_path) == ["first", "second\n\nstill second"]
    assert documents(tmp_path, LINES) == ["first", "second", "still second"]
    assert documents(tmp_path, EACH_LINE) == ["first", "second", "still second"]
    assert documents(f"{tmp_path}/**/*.txt") == ["second\n\nstill second"]


def test_a_named_file_of_any_ending_is_text(tmp_path: Path) -> None:
    (tmp_path / "book").write_bytes(b"\xef\xbb\xbfa book\r\n")
    assert documents(tmp_path / "book") == ["a book"]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_jsonl_plain_and_compressed(tmp_path: Path, ending: str) -> None:
    raw = jsonl([{"text": "one"}, {"text": " two \n"}, {"text": None}, {"text": "  "}, {"other": 1}, {"text": "ünf"}])
    packed = {"": raw, ".gz": gzip.compress(raw), ".zst": zstandard.compress(raw)}[ending]
    (tmp_path / f"x.jsonl{ending}").write_bytes(packed)
    tally = Tally()
    assert documents(tmp_path, tally=tally) == ["one", "two", "ünf"]
    assert tally.dropped == {"no text": 2, "empty": 1}


def test_compressed_text_by_blank_lines_and_by_lines(tmp_path: Path) -> None:
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"one\nmore\n \ntwo\r\n\n\n\nthree"))
    assert documents(tmp_path, LINES) == ["one\nmore", "two", "three"]
    tally = Tally()
    assert documents(tmp_path, EACH_LINE, tally=tally) == ["one", "more", "two", "three"]
    assert not tally.dropped  # an empty line is no document


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [f"document {i}" for i in range(50)] + [None, ""]
    table = pa.table({"id": range(52), "body": pa.array(texts, pa.string()).cast(kind)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7)
    tally = Tally()
    assert documents(tmp_path, Layout(text_column="body"), tally=tally) == texts[:50]
    assert tally.dropped == {"no text": 1, "empty": 1}


def test_big_files_are_cut_into_tasks_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SMALLEST_TASK", 1000)
    texts = [f"document {i} " + "word " * (i % 40) + "end" for i in range(900)]
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"text": text} for text in texts]))
    (tmp_path / "b.txt").write_text("\n\n".join(texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet", row_group_size=10)
    for name in ("a.jsonl", "b.txt", "c.parquet"):
        layout = LINES
        tasks = cut([list_files(str(tmp_path / name), layout)], layout)
        assert len(tasks) > 20
        assert documents(tmp_path / name, layout) == texts
        assert sum(piece.size for pieces in tasks for piece in pieces) >= (tmp_path / name).stat().st_size * 0.5


def test_a_task_has_one_source_only(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    tasks = cut([list_files(str(tmp_path / name), Layout()) for name in ("a.txt", "b.txt")], Layout())
    assert [[piece.source for piece in pieces] for pieces in tasks] == [[0], [1]]


@given(st.lists(st.text("ab \n\r\té", max_size=30), max_size=20), st.integers(4, 40))
def test_cut_at_any_byte_text_gives_the_same_documents(tmp_path_factory, paragraphs: list[str], target: int) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_bytes("\n".join(paragraphs).encode())
    size = path.stat().st_size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "SMALLEST_TASK", target)
        patch.setattr(pieces, "TASKS", 1000)
        cut_up = documents(path, LINES) if size else []
        each = documents(path, EACH_LINE) if size else []
    whole, lines = [], path.read_bytes().split(b"\n")
    paragraph: list[bytes] = []
    for line in [*lines, b""]:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            whole.append(b"\n".join(paragraph).decode().strip())
            paragraph = []
    assert cut_up == whole
    assert each == [line.decode().strip() for line in lines if line.strip()]


def test_hub_data_sets_are_streamed_by_shards(tmp_path: Path) -> None:
    for shard in range(3):
        (tmp_path / f"train-{shard}.jsonl").write_bytes(jsonl([{"body": f"{shard} {i}"} for i in range(4)]))
    layout = Layout(text_column="body")
    assert documents(f"hub:{tmp_path}", layout) == [f"{shard} {i}" for shard in range(3) for i in range(4)]
    with pytest.raises(UserError, match=r"no column 'text'; there are: body"):
        documents(f"hub:{tmp_path}")
    with pytest.raises(UserError, match=r"neither a file or folder here nor a readable Hub data set"):
        documents(f"hub:{tmp_path}", Layout(text_column="body", hub_split="nosuch"))


def test_a_name_with_one_slash_is_looked_for_on_the_hub(tmp_path: Path) -> None:
    assert list_files("nobody/nothing", Layout())[0].kind == "hub"
    with pytest.raises(UserError, match=r"nobody/nothing: neither a file or folder here nor a readable Hub data set"):
        documents("nobody/nothing")


def test_what_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "only").mkdir()
    (tmp_path / "only/x.pdf").write_bytes(b"%PDF")
    (tmp_path / "void").mkdir()
    (tmp_path / "void/a.txt").touch()
    for source, message in (
        ("nosuch.txt", "no such file or folder"),
        ("a/b/c", "no such file or folder"),
        (f"{tmp_path}/*.xyz", "no file matches"),
        (f"{tmp_path}/empty.txt", "the file is empty"),
        (f"{tmp_path}/only", "no text in this folder"),
        (f"{tmp_path}/void", "all of its files are empty"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            list_files(source, Layout())
        assert source in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_folder_holds_of_other_kinds_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("read")
    list_files(str(tmp_path), FILES)
    assert capsys.readouterr().err == ""
    for name in ("1.pdf", "2.PDF", "b.csv.gz", "c.d", "c.e", "c.f", "c.g", "notes"):
        (tmp_path / name).write_text("not read")
    assert documents(tmp_path) == ["read"]
    (said,) = capsys.readouterr().err.splitlines()
    counts = "2 .pdf, 1 .csv, 1 .d, 1 .e, 1 .f, 2 others"
    assert f"{tmp_path}: 8 files are not read: {counts} (one is {tmp_path}/1.pdf)" in said


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        *((name, "unpack it and") for name in ("x.tar", "x.tar.gz", "x.TGZ", "x.zip", "x.txt.bz2")),
        *((name, "convert it to plain text") for name in ("x.pdf", "x.DOCX", "x.epub", "x.rtf.gz")),
    ],
)
def test_an_archive_or_a_laid_out_page_that_is_named_is_no_text(tmp_path: Path, name: str, mend: str) -> None:
    (tmp_path / name).write_bytes(b"all of it ASCII")
    for source in (tmp_path / name, tmp_path / "*"):
        with pytest.raises(UserError, match=rf"{name}: \.\w+ is not read; {mend}"):
            list_files(str(source), FILES)


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "x.json", "x.json.gz", "x.jsonl"])
def test_what_is_said_of_a_table_makes_a_parquet_of_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    texts = ['with "quotes", a comma', "two\nlines"]
    kind = name.split(".")[1]
    if kind in ("csv", "tsv"):
        table = io.StringIO()
        dialect = "excel" if kind == "csv" else "excel-tab"
        csv.writer(table, dialect).writerows([[text, "x"] for text in ("text", *texts)])
        raw = table.getvalue().encode()
    else:
        raw = json.dumps([{"text": text} for text in texts], indent=None if kind == "jsonl" else 2).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    with pytest.raises(UserError, match=rf"{name}: .*; make a .parquet of it: ") as caught:
        documents(tmp_path / name)
    command = shlex.split(str(caught.value).split("make a .parquet of it: ")[1])
    assert command[:2] == ["python", "-c"]
    exec(command[2], {})
    assert documents(tmp_path / f"{name}.parquet") == texts


def test_a_json_file_with_a_record_a_line_is_read_as_that(tmp_path: Path) -> None:
    (tmp_path / "c4.json.gz").write_bytes(gzip.compress(jsonl([{"text": "one"}, {"text": "two"}])))
    assert documents(tmp_path / "c4.json.gz") == ["one", "two"]


def test_a_wrong_column_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(jsonl([{"body": "x", "id": 1}]))
    pq.write_table(pa.table({"body": ["x"], "id": [1]}), tmp_path / "x.parquet")
    for name in ("x.jsonl", "x.parquet"):
        with pytest.raises(UserError, match=rf"{name}: no column 'text'; there are: body, id"):
            documents(tmp_path / name)
    with pytest.raises(UserError, match=r"x.parquet: column 'id' holds int64, not text"):
        documents(tmp_path / "x.parquet", Layout(text_column="id"))
    with pytest.raises(UserError, match=r"x.jsonl: the record at byte 0 holds int in 'id', not text"):
        documents(tmp_path / "x.jsonl", Layout(text_column="id"))


def test_invalid_utf8_is_named_by_file_and_byte_or_skipped(tmp_path: Path) -> None:
    good = "grün\n\n".encode()
    bad = b"caf\xe9 au lait"
    (tmp_path / "x.txt").write_bytes(good + bad)
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(good + bad))
    record = b'{"text": "good"}\n'
    (tmp_path / "x.jsonl").write_bytes(record + b'{"text": "' + bad + b'"}\n' + record)
    column = pa.array([b"good", bad, b"good"], pa.binary())
    pq.write_table(pa.table({"text": column.view(pa.string())}), tmp_path / "x.parquet")
    for name, place, left in (
        ("x.txt", f"byte {len(good) + 3} (0xe9)", ["grün"]),
        ("x.txt.gz", f"byte {len(good) + 3} (0xe9)", ["grün"]),
        ("x.jsonl", f"byte {len(record) + 10 + 3} (0xe9)", ["good", "good"]),
        ("x.parquet", "row 1: invalid UTF-8 at byte 3 (0xe9)", ["good", "good"]),
    ):
        with pytest.raises(UserError) as caught:
            documents(tmp_path / name, LINES)
        assert name in str(caught.value) and place in str(caught.value) and "--invalid skip" in str(caught.value)
        tally = Tally()
        assert documents(tmp_path / name, LINES, Rules(invalid="skip"), tally) == left
        assert tally.dropped == {"invalid UTF-8": 1}


@pytest.mark.parametrize("line", [b'{"text": "cut', b"[1, 2]", b'{"text": "\\ud800"}', b"[" * 100_000])
def test_broken_json_is_named_or_skipped(tmp_path: Path, line: bytes) -> None:
    record = b'{"text": "good"}\n'
    (tmp_path / "x.jsonl").write_bytes(record + line + b"\n" + record)
    with pytest.raises(UserError, match=rf"x.jsonl: the record at byte {len(record)} is not valid JSON"):
        documents(tmp_path / "x.jsonl")
    tally = Tally()
    assert documents(tmp_path / "x.jsonl", rules=Rules(invalid="skip"), tally=tally) == ["good", "good"]
    assert tally.dropped == {"invalid JSON": 1}


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 this is none PAR1")
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(jsonl([{"text": "a" * i} for i in range(999)]))[:-20])
    (tmp_path / "x.jsonl.zst").write_bytes(b"this is none")
    for name in ("x.parquet", "x.jsonl.gz", "x.jsonl.zst"):
        with pytest.raises(UserError, match=name):
            documents(tmp_path / name)


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "lines.txt", "each.txt", "x.jsonl", "x.parquet"])
def test_a_document_that_is_too_long_is_refused_cut_or_dropped(tmp_path: Path, name: str) -> None:
    long = " ".join(f"wört{i}" for i in range(400))
    short = "short one"
    path = tmp_path / name
    layout = {"lines.txt": LINES, "each.txt": EACH_LINE}.get(name, FILES)
    texts = [long] if name.startswith("x.txt") else [short, long, short]
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": texts}), path)
    elif name.endswith(".jsonl"):
        path.write_bytes(jsonl([{"text": text} for text in texts]))
    else:
        raw = "\n\n".join(texts).encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)

    with pytest.raises(UserError, match=r"longer than 1000 bytes; pass --long split or --long drop"):
        documents(path, layout, Rules(max_document_bytes=1000))
    tally = Tally()
    rules = Rules(max_document_bytes=1000, long="drop")
    assert documents(path, layout, rules, tally) == [text for text in texts if text == short]
    assert tally.dropped == {"longer than 1000 bytes": 1} and tally.cut == 0
    tally = Tally()
    parts = documents(path, layout, Rules(max_document_bytes=1000, long="split"), tally)
    assert tally.cut == 1 and not tally.dropped
    assert all(len(part.encode()) <= 1000 for part in parts)
    assert " ".join(part for part in parts if part != short) == long  # cut at blanks, nothing lost
    assert [part for part in parts if part == short] == [text for text in texts if text == short]


def test_text_without_white_space_is_cut_between_characters() -> None:
    raw = ("é" * 1000).encode()
    parts = [part for _, part, _ in _parts(io.BytesIO(raw), 0, None, "file", 101)]
    assert b"".join(parts) == raw and all(len(part) <= 101 and part.decode() for part in parts)


def test_a_line_of_json_beyond_all_bounds_is_not_read_into_memory(tmp_path: Path) -> None:
    with open(tmp_path / "x.jsonl", "wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        for _ in range(40):
            file.write(b"a" * 1_000_000)
        file.write(b'"}\n{"text": "last"}\n')
    tracemalloc.start()
    rules = Rules(long="drop", max_document_bytes=100_000)
    assert documents(tmp_path / "x.jsonl", rules=rules) == ["first", "last"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    with pytest.raises(UserError, match="pass --long drop"):
        documents(tmp_path / "x.jsonl", rules=Rules(long="split", max_document_bytes=100_000))
