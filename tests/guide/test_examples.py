"""The scripts in examples/: their parts, and each from start to end at small size, on text that the test makes."""

import gettext
import importlib.util
import io
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from transformers import AutoModel, AutoModelForPreTraining, ElectraConfig, ElectraForPreTraining

from electrain.data.prepare import prepare
from electrain.data.shards import Shards
from electrain.data.tokenizer import load_tokenizer, train_tokenizer
from electrain.errors import UserError
from tests import prose
from tests.guide.pages import ROOT
from tests.training import metrics, one_thread  # noqa: F401 - a fixture

SMALL = ["--steps", "3", "--batch", "32", "--compile", "0"]  # large batches: the held-out rows are few then


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Gives a script of examples/ as a module; its name is free again afterwards."""

    def given(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"examples_{name}", ROOT / "examples" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return given


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    monkeypatch.setattr(module, "prepare", lambda how: prepare(replace(how, workers=1)))  # a second one takes longer
    module.main()


# --- language.py

GERMAN = ("Der {} läuft über die {} und grüßt den {}.", ("Hund", "Mann", "Vogel", "Zug"), ("Straße", "Brücke", "Wiese"))


def german(count: int) -> str:
    """Documents of three sentences."""
    random = np.random.default_rng(0)
    pattern, ones, others = GERMAN
    lines = (pattern.format(random.choice(ones), random.choice(others), random.choice(ones)) for _ in range(3 * count))
    return "\n\n".join(" ".join(part) for part in zip(lines, lines, lines, strict=True)) + "\n"


def test_language(
    example: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "german.txt").write_text(german(200), encoding="utf-8")
    words = ["--text", tmp_path / "german.txt", "--out", tmp_path / "out", "--vocab-size", 320, *SMALL]
    run(example("language"), monkeypatch, *words)  # type: ignore[operator]
    tokenizer = load_tokenizer(tmp_path / "out" / "model")
    assert "".join(t.removeprefix("##") for t in tokenizer.tokenize("Der Hund läuft über")) == "DerHundläuftüber"
    assert AutoModel.from_pretrained(tmp_path / "out" / "model").config.vocab_size == len(tokenizer)
    said = capsys.readouterr().out
    assert "Straße" in said or "Brücke" in said or "Wiese" in said  # a held-out sentence with its words whole
    assert f"--model {tmp_path / 'out' / 'run'}" in said


@pytest.mark.parametrize("order", ["<", ">"])
def test_language_reads_catalogues(example: object, tmp_path: Path, order: str) -> None:
    """Against Python's own reader, on a file with both byte orders; what is short, twice or has a gap is left out."""
    long = "Die Datei konnte nicht gelesen werden, weil sie nicht mehr vorhanden ist; _wählen Sie eine andere."
    pairs = {"": "Content-Type: text/plain; charset=UTF-8\n", "a": "kurz", "b": long, "c": long + "%s", "d": long}
    ids, texts = b"", b""
    heads = [b"", b""]
    start = 28 + 16 * len(pairs)
    for key in pairs:
        heads[0] += struct.pack(f"{order}2I", len(key), start + len(ids))
        ids += key.encode() + b"\0"
    for text in pairs.values():
        heads[1] += struct.pack(f"{order}2I", len(text.encode()), start + len(ids) + len(texts))
        texts += text.encode() + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    data = head + heads[0] + heads[1] + ids + texts
    known = gettext.GNUTranslations(io.BytesIO(data))
    module = example("language")  # type: ignore[operator]
    assert list(module.catalogue(data))[1:] == [known.gettext(key) for key in list(pairs)[1:]]
    folder = tmp_path / "locale" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "a.mo").write_bytes(data)
    assert list(module.messages("de", tmp_path)) == [long.replace("_", "")]


# --- domain.py


def test_domain(
    example: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goes on from a folder as the Hub has it; the weights have moved from there, and both verdicts are told."""
    texts = prose.documents(200)
    published = tmp_path / "published"
    train_tokenizer(texts, size=320).save_pretrained(published)
    size = len(load_tokenizer(published))
    sizes = {"hidden_size": 36, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 48}
    config = ElectraConfig(vocab_size=size, embedding_size=36, max_position_embeddings=32, **sizes)
    ElectraForPreTraining(config).save_pretrained(published)
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    words = ["--model", published, "--text", tmp_path / "texts.txt", "--out", tmp_path / "out", "--length", 32]
    run(example("domain"), monkeypatch, *words, "--lr", "0.01", *SMALL)  # type: ignore[operator]
    was, now = (AutoModelForPreTraining.from_pretrained(path) for path in (published, tmp_path / "out" / "model"))
    change = [(a - b).abs().max().item() for a, b in zip(was.parameters(), now.parameters(), strict=True)]
    assert 0 < max(change) < 0.1  # three steps of 0.01 from there: no fresh start, which would differ by far more
    lines = capsys.readouterr().out.splitlines()
    areas = [float(line.split()[-3]) for line in lines if line.strip().startswith(("as published", "after 3 steps"))]
    assert len(areas) == 2 and all(0 < area < 1 for area in areas)


# --- dna.py


@pytest.mark.parametrize("k", [1, 3])
def test_dna_tokens_are_words_of_k_bases(example: object, tmp_path: Path, k: int) -> None:
    made = example("dna").tokenizer(k)  # type: ignore[operator]
    assert made.get_vocab_size() == 4**k + 5
    assert made.encode("ACGTACGTA").tokens == ["[CLS]", *("acgtacgta"[i : i + k] for i in range(0, 9, k)), "[SEP]"]
    assert "[UNK]" in made.encode("acgnac").tokens
    made.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path / "tokenizer.json").mask_token == "[MASK]"


def test_dna_genome(example: object) -> None:
    """Each right motif follows its left one at the distance said, and the law is the same for other sequences."""
    module = example("dna")  # type: ignore[operator]
    pieces, marks = module.genome(40, seed=1)
    partners: dict[str, set[str]] = {}
    for text, mark in zip(pieces, marks, strict=True):
        assert len(text) == len(mark) == 1_000 and set(text) <= set("acgt")
        edges = np.flatnonzero(np.diff(mark.astype(int), prepend=0) == 1)
        for start in edges:
            left = text[start - module.GAP - module.MOTIF : start - module.GAP]
            partners.setdefault(left, set()).add(text[start : start + module.MOTIF])
    assert len(partners) == module.PAIRS and all(len(found) == 1 for found in partners.values())
    others, _ = module.genome(2, seed=2)
    assert others[0] != pieces[0] and any(left in others[0] for left in partners)


def test_dna_baseline_and_exchange(example: object) -> None:
    module = example("dna")  # type: ignore[operator]
    texts, where = module.exchanged(["acgt" * 200], share=0.1)
    assert [a != b for a, b in zip(texts[0], "acgt" * 200, strict=True)] == where[0].tolist()
    assert 0.05 < where[0].mean() < 0.15
    counts = module.rarity(["aacaa"], ["aaca", "gg"], 3)
    expected = [1, 1 / 2, 1 / 2, 1, 1, 1]  # naa: 0, aac: 1, aca: 1, can: 0; ngg and ggn: 0
    assert np.exp(-counts) == pytest.approx([1 / x for x in expected])


def test_dna(
    example: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way through, with tokens of three bases, on a FASTA file."""
    module = example("dna")  # type: ignore[operator]
    pieces, _ = module.genome(100, seed=1)
    (tmp_path / "genome.fa").write_text(">one\n" + "\n".join(pieces).upper() + "\n")
    words = ["--genome", tmp_path / "genome.fa", "--out", tmp_path / "out", "--k", 3, *SMALL]
    run(module, monkeypatch, *words)
    assert Shards.open(tmp_path / "out" / "data").vocab.size == 64 + 5
    assert metrics(tmp_path / "out" / "run")
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.strip().startswith(("words of", "the "))]
    assert len(rows) == 5 and all(0.4 < float(row[-1]) < 1 for row in rows)
    with pytest.raises(UserError, match="choose another --out"):  # the tokenizer of the folder has words of three
        run(module, monkeypatch, *words, "--k", 1)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), (b"\x1f\x8b", "cannot be read"), (b">x\nacgt", "0 pieces")]
)
def test_a_genome_that_is_none_is_one_line(example: object, tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.fa").write_bytes(content)
    with pytest.raises(UserError, match=rf"--genome .*x.fa: {said}") as caught:
        example("dna").read(tmp_path / "x.fa")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
