import contextlib
import errno
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from electrain.data import pieces
from electrain.data.manifest import Manifest
from electrain.data.pipeline import TokenizedFile, text_hash
from electrain.data.prepare import Prepare, prepare
from electrain.data.shards import Shards
from electrain.data.tokenizer import train_tokenizer
from electrain.errors import UserError
from electrain.parsing import parse

ROOT = Path(__file__).resolve().parent.parent.parent
SENTENCE = "the quick brown fox jumps over lazy dog while many naïve readers walk past a [SEP] and Strange Words"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[(i * j + i) % len(WORDS)] for j in range(i % 50 + 3)) + f" {i}" for i in range(400)]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory) -> str:
    """A folder with a small tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, size=300, min_frequency=1).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def settings(tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Four hundred documents in four files, cut into several tasks, one process."""
    monkeypatch.setattr(pieces, "SMALLEST_TASK", 10_000)
    for number in range(4):
        records = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[number::4])
        (tmp_path / f"{number}.jsonl").write_text(records)
    sources = (str(tmp_path / "[0-2].jsonl"), str(tmp_path / "3.jsonl"))
    return Prepare(sources, tmp_path / "data", tokenizer=tokenizer, validation=0.05, workers=1)


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def stored(folder: Path, split: str) -> list[list[int]]:
    """The documents of a split as the files have them: the end of each is in the index, its last token is [SEP]."""
    manifest = Manifest.load(folder)
    found = []
    for shard in getattr(manifest, split):
        ids = np.fromfile(folder / shard.file, manifest.token_type).tolist()
        ends = np.fromfile(folder / shard.index, "<u8").tolist()
        assert len(ids) == shard.tokens and len(ends) == shard.documents and ends[-1] == shard.tokens
        found += [ids[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return found


def expected(folder: Path, texts: list[str]) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [[*ids, tokenizer.sep_token_id] for ids in encoded]


def in_order() -> list[str]:
    return [*TEXTS[0::4], *TEXTS[1::4], *TEXTS[2::4], *TEXTS[3::4]]


@contextlib.contextmanager
def refused(message: str, out: Path) -> Iterator[None]:
    """One clear line, and nothing there afterwards that was not there before."""
    before = files(out) if out.exists() else None
    with pytest.raises(UserError, match=message) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert (files(out) if out.exists() else None) == before


def test_the_folder_holds_every_token_of_every_document(settings: Prepare, capsys) -> None:
    manifest = prepare(settings)
    out = settings.out
    assert Manifest.load(out) == manifest and len(manifest.train) >= 4
    held_out = [text for text in in_order() if text_hash(text.encode()) < 0.05 * 2**64]
    assert 5 < len(held_out) < 50
    assert stored(out, "validation") == expected(out, held_out)
    assert stored(out, "train") == expected(out, [text for text in in_order() if text not in set(held_out)])
    assert sorted(path.name for path in out.iterdir()) == [
        "frequencies.npy",
        "manifest.json",
        "tokenizer",
        "train",
        "validation",
    ]
    for split in ("train", "validation"):
        Shards.open(out, split, verify=True)
    for shard in manifest.train + manifest.validation:
        assert hashlib.sha256((out / shard.file).read_bytes()).hexdigest() == shard.sha256
        assert hashlib.sha256((out / shard.index).read_bytes()).hexdigest() == shard.index_sha256
    assert hashlib.sha256((out / "tokenizer/tokenizer.json").read_bytes()).hexdigest() == manifest.tokenizer_sha256
    assert manifest.dtype == "uint16" and manifest.vocab.mask == 4

    said = capsys.readouterr().out
    tokens = sum(len(ids) for ids in expected(out, TEXTS))
    words = sum(len(text.split()) for text in TEXTS)
    assert f"400 ({len(held_out)} held out" in said and f"{tokens:,}" in said and f"{words:,} words" in said
    assert f"{(tokens - 400) / words:.2f}" in said
    assert f"electrain pretrain electra_tiny --data {out} --out runs/first" in said
    assert manifest.summary["longest"] == max(len(ids) - 1 for ids in expected(out, TEXTS))
    unknown = sum(ids.count(manifest.vocab.unk) for ids in expected(out, TEXTS))
    assert manifest.summary["unknown"] == unknown
    assert sum(source.documents for source in manifest.sources) == 400
    assert sum(source.bytes for source in manifest.sources) == sum(len(text.encode()) for text in TEXTS)


def test_a_vocabulary_that_lacks_the_characters_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Chinese: more characters than WordPiece takes by themselves. The advice is followed, and nothing is unknown."""
    signs = [chr(0x4E00 + number) for number in range(4000)]
    texts = ["".join(signs[(i * 61 + 7 * j * j) % 4000] for j in range(50)) for i in range(300)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def made(name: str, **more: Any) -> tuple[str, float]:
        out = tmp_path / name
        prepare(Prepare(corpus=(str(tmp_path / "in.jsonl"),), out=out, vocab_size=4000, validation=0.05, **more))
        share = Manifest.load(out).summary["unknown_share"]
        assert isinstance(share, float)
        return capsys.readouterr().out, share

    said, share = made("words")
    assert share > 0.3 and f"{share:.1%} of the tokens are [UNK]" in said
    assert "prepare again with --vocab-kind bytes" in said and "electrain pretrain" not in said
    said, share = made("bytes", vocab_kind="bytes")
    assert share == 0 and "[UNK]" not in said and "electrain pretrain" in said


def test_repetition_is_counted_in_without_copies(settings: Prepare) -> None:
    once = prepare(settings)
    manifest = prepare(replace(settings, repeat=(1.0, 2.5), out=settings.out.with_name("repeated")))
    assert [shard.sha256 for shard in manifest.train] == [shard.sha256 for shard in once.train]
    assert {shard.repeat for shard in manifest.train} == {1.0, 2.5}
    assert {shard.repeat for shard in manifest.validation} == {1.0}
    assert [source.repeat for source in manifest.sources] == [1.0, 2.5]
    folder = settings.out.with_name("repeated")
    shards = Shards.open(folder)
    epoch = shards.gather(np.array([0]), shards.tokens)[0]
    frequencies = np.load(folder / "frequencies.npy")
    assert frequencies.dtype == np.int64
    assert (frequencies == np.bincount(epoch, minlength=300)).all()
    assert (np.load(settings.out / "frequencies.npy") < frequencies).any()


def test_two_workers_write_the_same_folder_as_one(settings: Prepare) -> None:
    trained = replace(settings, tokenizer=None, vocab_size=300, min_frequency=1)
    prepare(trained)
    other = trained.out.with_name("other")
    prepare(replace(trained, workers=2, out=other))
    assert files(other) == files(settings.out)


def test_the_split_is_stable_when_data_is_added(settings: Prepare, tmp_path: Path) -> None:
    prepare(settings)
    (tmp_path / "more.txt").write_text("\n\n".join(f"another text number {i}" for i in range(300)))
    more = replace(
        settings, corpus=(str(tmp_path / "more.txt"), *settings.corpus), documents="blank-lines", out=tmp_path / "more"
    )
    prepare(more)
    for split in ("train", "validation"):
        few, many = (stored(folder, split) for folder in (settings.out, tmp_path / "more"))
        assert many[-len(few) :] == few and len(many) > len(few)


def test_a_small_corpus_holds_out_the_document_of_the_lowest_hash(settings: Prepare, tmp_path: Path) -> None:
    texts = [f"text number {i}" for i in range(5)]
    (tmp_path / "few.txt").write_text("\n\n".join(texts))
    few = replace(settings, corpus=(str(tmp_path / "few.txt"),), documents="blank-lines", validation=1e-6)
    manifest = prepare(few)
    lowest = min(texts, key=lambda text: text_hash(text.encode()))
    assert stored(few.out, "validation") == expected(few.out, [lowest])
    assert stored(few.out, "train") == expected(few.out, [text for text in texts if text != lowest])
    assert manifest.summary["documents"] == 5
    none = replace(few, validation=0.0, out=tmp_path / "none")
    assert prepare(none).validation == () and len(stored(none.out, "train")) == 5


def test_wide_vocabularies_take_four_bytes(settings: Prepare, tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    raw = json.loads(Path(settings.tokenizer or "", "tokenizer.json").read_text())
    size = len(raw["model"]["vocab"])
    raw["model"]["vocab"] |= {f"filler{i}": i for i in range(size, 65536)}
    raw["model"]["vocab"]["strange"] = 65536
    (tmp_path / "wide/tokenizer.json").write_text(json.dumps(raw))
    manifest = prepare(replace(settings, tokenizer=str(tmp_path / "wide/tokenizer.json")))
    assert manifest.dtype == "uint32" and manifest.vocab.size == 65537
    found = stored(settings.out, "train") + stored(settings.out, "validation")
    assert any(65536 in ids for ids in found)
    assert sorted(found) == sorted(expected(settings.out, TEXTS))


def test_the_built_in_corpus_and_a_column_of_another_name(settings: Prepare, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("electrain.data.prepare.builtin_documents", lambda workers: iter(TEXTS[:40]))
    (tmp_path / "x.jsonl").write_text('{"body": "one more text"}')
    both = replace(settings, corpus=("builtin", str(tmp_path / "x.jsonl")), text_column="body", validation=0.0)
    prepare(both)
    assert stored(both.out, "train") == expected(both.out, [*TEXTS[:40], "one more text"])


def test_done_is_done_and_other_data_is_not_touched(settings: Prepare, tmp_path: Path, capsys) -> None:
    manifest = prepare(settings)
    before = files(settings.out)
    assert prepare(replace(settings, workers=2)) == manifest
    assert "prepared already" in capsys.readouterr().out
    assert files(settings.out) == before
    with refused(r"prepared otherwise \(other validation\)", settings.out):
        prepare(replace(settings, validation=0.1))
    (tmp_path / "0.jsonl").write_text('{"text": "changed"}')
    with refused(r"prepared otherwise \(other files\)", settings.out):
        prepare(settings)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with refused("is not empty and holds no preparation of ours", foreign):
        prepare(replace(settings, out=foreign))
    with refused("is a file", tmp_path / "foreign/thesis.txt"):
        prepare(replace(settings, out=foreign / "thesis.txt"))
    with refused("is a file", foreign):
        prepare(replace(settings, out=foreign / "thesis.txt/below"))
    (tmp_path / "void").mkdir()
    prepare(replace(settings, out=tmp_path / "void"))


def test_bad_input_found_midway_leaves_nothing(settings: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "3.jsonl"
    good = path.read_bytes()
    path.write_bytes(good + b'{"text": "caf\xe9"}\n')
    place = rf"3.jsonl: invalid UTF-8 at byte {len(good) + 13} \(0xe9\)"
    with refused(place, settings.out):
        prepare(settings)
    with refused(place, settings.out):
        prepare(replace(settings, tokenizer=None, vocab_size=300))
    settings.out.mkdir()
    with refused(place, settings.out):
        prepare(settings)
    manifest = prepare(replace(settings, invalid="skip"))
    assert manifest.summary["dropped"] == {"invalid UTF-8": 1} and manifest.summary["documents"] == 400


def test_bad_input_in_a_worker_process_is_one_line_too(settings: Prepare, tmp_path: Path, capfd) -> None:
    with open(tmp_path / "1.jsonl", "ab") as file:
        file.write(b'{"text": "caf\xe9"}\n')
    with refused(r"1.jsonl: invalid UTF-8", settings.out):
        prepare(replace(settings, workers=2))
    said = capfd.readouterr()
    assert said.err.strip() == "Tokenizing" and not said.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": ()}, "--corpus: name at least one source"),
        ({"corpus": ("a.txt", "a.txt")}, "names a source twice"),
        ({"corpus": ("nosuch.txt",)}, "nosuch.txt: no such file"),
        ({"repeat": (1.0,)}, r"--repeat: 1 numbers for 2 sources; .*\(a glob is one source in quotes"),
        ({"repeat": (1.0, 0.0)}, "--repeat: each number must be above 0"),
        ({"repeat": (1.0, float("nan"))}, "--repeat: each number must be above 0"),
        ({"vocab_size": 5000}, "exclude each other"),
        ({"tokenizer": None, "vocab_size": 10}, "--vocab-size 10: must be 300 to"),
        ({"tokenizer": "nosuch/folder/at-all"}, "no tokenizer could be loaded"),
        ({"validation": 0.7}, "--validation 0.7"),
        ({"validation": -0.1}, "--validation -0.1"),
        ({"workers": -1}, "--workers -1"),
        ({"max_document_bytes": 10}, "--max-document-bytes 10"),
        ({"max_document_bytes": 1000, "documents": "files"}, None),
        ({"min_frequency": 0}, "--min-frequency 0"),
        ({"tokenizer_sample": 5}, "--tokenizer-sample 5"),
        ({"text_column": "body"}, "0.jsonl: no column 'body'; there are: text"),
        ({"engine": "slurm"}, "name the partition"),
    ],
)
def test_settings_are_checked_before_anything_is_written(settings: Prepare, change: dict, message: str | None) -> None:
    changed = replace(settings, **change)
    if message is None:
        assert prepare(changed).summary["documents"] == 400
        return
    with refused(message, settings.out):
        prepare(changed)


def test_a_tokenizer_without_mask_is_refused(settings: Prepare, tmp_path: Path) -> None:
    raw = json.loads(Path(settings.tokenizer or "", "tokenizer.json").read_text())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] != "[MASK]"]
    vocabulary = raw["model"]["vocab"]
    vocabulary["mask_no_more"] = vocabulary.pop("[MASK]")
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    with refused(r"the tokenizer has no \[MASK\]", settings.out):
        prepare(replace(settings, tokenizer=str(tmp_path / "tokenizer.json")))


def test_an_empty_or_indivisible_corpus(settings: Prepare, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    one = replace(settings, corpus=(str(path),))
    path.write_text(" \n\n \t ")
    for chosen in (one, replace(one, tokenizer=None, vocab_size=300)):
        with refused("the corpus is empty after cleaning", one.out):
            prepare(chosen)
    path.write_text("a book")
    with refused("the corpus is a single document", one.out):
        prepare(one)
    path.write_text("a book " * 1000)
    with refused("longer than 1000 bytes", one.out):
        prepare(replace(one, max_document_bytes=1000))
    manifest = prepare(replace(one, max_document_bytes=1000, long="split"))
    assert manifest.summary["cut"] == 1 and manifest.summary["documents"] == 8


def test_a_full_disk_leaves_no_half_file_and_is_gone_on_with(settings: Prepare, monkeypatch) -> None:
    whole = prepare(replace(settings, out=settings.out.with_name("whole")))
    write, written = TokenizedFile.write_bytes, []

    def full(self, raw: bytes, doc_ends=None) -> None:
        if len(written) > 4:
            write(self, raw[:10], doc_ends)
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(raw)
        write(self, raw, doc_ends)

    with monkeypatch.context() as patch:
        patch.setattr(TokenizedFile, "write_bytes", full)
        with pytest.raises(UserError, match=r"no space left on this disk; free some and give the same command again"):
            prepare(settings)
    assert not (settings.out / "manifest.json").exists()
    kept = sorted(path.name for path in (settings.out / "train").iterdir())
    assert kept == [f"0000{number}.ds{end}" for number in (0, 1) for end in ("", ".crc", ".index")]
    assert prepare(settings) == whole
    assert files(settings.out) == files(settings.out.with_name("whole"))


SCRIPT = """
import sys, time
from pathlib import Path
from electrain.data import pieces, pipeline
from electrain.data.prepare import Prepare, prepare

pieces.SMALLEST_TASK = 10_000
write = pipeline.TokenizedFile.write_bytes


def slowly(self, raw, doc_ends=None):
    write(self, raw, doc_ends)
    self.tokens_file.flush()
    time.sleep(0.3)


if __name__ == "__main__":
    pipeline.TokenizedFile.write_bytes = slowly
    prepare(Prepare((sys.argv[1],), Path(sys.argv[2]), tokenizer=sys.argv[3], validation=0.05, workers=1))
"""


def test_killed_midway_it_goes_on_where_it_was(settings: Prepare, tmp_path: Path) -> None:
    once = replace(settings, corpus=settings.corpus[:1])
    whole = prepare(replace(once, out=tmp_path / "whole"))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), once.corpus[0], str(once.out), once.tokenizer]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE) as process:
        tasks = once.out / ".work/datatrove/completions"
        waited = time.monotonic()
        while process.poll() is None and not list(tasks.glob("*")):
            assert time.monotonic() - waited < 60
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (once.out / "manifest.json").exists()
    finished = [once.out / f"train/{task.name}.ds" for task in tasks.iterdir()]
    done = {path: path.stat().st_mtime_ns for path in finished if path.exists()}
    assert 1 <= len(done) < len(whole.train)
    with refused(r"unfinished preparation of another kind \(other validation\)", once.out):
        prepare(replace(once, validation=0.1))
    with pytest.raises(UserError, match="this data is not finished; go on with it: electrain prepare") as caught:
        Shards.open(once.out)
    words = shlex.split(str(caught.value).split("go on with it: electrain prepare ")[1])
    assert parse(Prepare, words, "prepare") == replace(once, workers=0)
    assert prepare(once) == whole
    assert files(once.out) == files(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == changed for path, changed in done.items())  # was not done again


def test_two_at_a_time_on_one_folder_are_kept_apart(settings: Prepare, monkeypatch) -> None:
    def again(*_: object) -> None:
        with refused("is writing there", settings.out):
            prepare(settings)

    with monkeypatch.context() as patch:
        patch.setattr("electrain.data.prepare._run", again)
        with pytest.raises(FileNotFoundError):  # of tasks that have not run
            prepare(settings)
    prepare(settings)
