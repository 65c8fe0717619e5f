"""The quickstart, whole but tiny: another corpus, another run, the same story; and its pieces."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForPreTraining, AutoTokenizer, pipeline

from electrain import checkpoint
from electrain.compute import Compute
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.encoders.bert import Bert
from electrain.errors import UserError
from electrain.judge import Verdict
from electrain.quickstart import Look, Sentence, look, quickstart, reload, report, sentences, tell
from electrain.recipes.tiny import electra_tiny
from electrain.run import Run
from electrain.system import System
from tests import prose
from tests.training import one_thread  # noqa: F401 - a fixture


def tiny() -> Run:
    """Its own recipe, of one layer and for six steps."""
    run = electra_tiny()
    assert isinstance(run.system.encoder, Bert.Config)
    return replace(
        run,
        system=replace(run.system, encoder=replace(run.system.encoder, layers=1)),
        steps=6,
        batch=8,
        length=32,
        eval_rows=8,
        optim=replace(run.optim, warmup=2),
        compute=Compute(device="cpu", dtype="float32", compile=False, threads=1),
    )


@dataclass(frozen=True)
class Story:
    """A quickstart that was run: where, on what, and what it printed and said."""

    out: Path
    corpus: Path
    printed: str
    said: str

    @property
    def shards(self) -> Shards:
        return Shards.open(self.out / "data", "validation")

    @property
    def frequencies(self) -> np.ndarray:
        return np.load(self.out / "data" / "frequencies.npy")


def told(out: Path, corpus: Path) -> Story:
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        quickstart(out, tiny(), str(corpus))
    return Story(out, corpus, printed.getvalue(), said.getvalue())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("quickstart")
    corpus = folder / "texts"
    corpus.mkdir()
    for number, text in enumerate(prose.documents(300)):
        (corpus / f"{number}.txt").write_text(text)
    threads = torch.get_num_threads()
    yield told(folder / "out", corpus)
    torch.set_num_threads(threads)


def test_the_whole_story(story: Story) -> None:
    assert sorted(path.name for path in story.out.iterdir()) == ["data", "discriminator", "generator", "run"]
    for number, words in enumerate(("the corpus", "training electra_tiny: 6 steps of 256", "judging", "exporting"), 1):
        assert f"{number}/4  {words}" in story.said
    assert "Loading weights" not in story.said  # transformers' own bars
    for words in (
        "AUC: tells replaced from original",
        "a score that knows frequency only",
        "calling every token original",
        "replaced tokens found",
    ):
        assert words in story.printed
    for folder in ("data", "run", "discriminator", "generator"):
        assert re.search(rf"^  {re.escape(str(story.out / folder))}    \S", story.printed, re.MULTILINE)
    after = story.printed[story.printed.index("Next") :].splitlines()[1:]
    assert [line.split()[:2] for line in after if line] == [
        ["electrain", "prepare"],
        ["electrain", "pretrain"],
        ["electrain", "export"],
    ]
    assert len(re.findall(r'became "\w+": (?:noticed|missed)\)', story.printed)) == 3


def test_transformers_loads_what_it_made(story: Story) -> None:
    discriminator = AutoModelForPreTraining.from_pretrained(story.out / "discriminator")
    assert type(discriminator).__name__ == "ElectraForPreTraining"
    assert len(pipeline("fill-mask", str(story.out / "generator"))("the silent [MASK] follows")) == 5
    assert f"electrain quickstart --out {story.out}" in (story.out / "run" / "run.json").read_text()


def test_a_second_call_makes_nothing_again(story: Story) -> None:
    made = {path: path.stat().st_mtime_ns for path in (story.out / "run" / "checkpoints").rglob("*")}
    again = told(story.out, story.corpus)
    assert "nothing to do" in again.said and "is prepared already" in again.printed
    assert {path: path.stat().st_mtime_ns for path in (story.out / "run" / "checkpoints").rglob("*")} == made
    table = [line for line in story.printed.splitlines() if "%" in line or "AUC" in line]
    assert set(table) <= set(again.printed.splitlines())


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(thesis.txt\)"):
        quickstart(tmp_path, tiny())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_sentences_have_one_word_exchanged(story: Story) -> None:
    tokenizer = AutoTokenizer.from_pretrained(story.out / "discriminator")
    found = sentences(story.shards, tokenizer, story.frequencies, count=3)
    assert len(found) == 3 and len({tuple(sentence.words) for sentence in found}) == 3
    held_out = [line.lower().rstrip(".") for text in prose.documents(300) for line in text.split(". ")]
    for sentence in found:
        assert " ".join(sentence.words) in held_out  # as it stands in the corpus, before the exchange
        old = sentence.words[sentence.place]
        assert 0 < sentence.place < len(sentence.words) and old.isalpha() and len(old) > 3
        assert sentence.new != old and sentence.new in tokenizer.get_vocab()
        assert story.frequencies[tokenizer.get_vocab()[sentence.new]] >= 20
    assert found == sentences(story.shards, tokenizer, story.frequencies, count=3)
    assert len(sentences(story.shards, tokenizer, story.frequencies, count=1)) == 1


def test_sentences_of_hardly_any_text(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer tokens than the window that is looked at, and no word that could be put anywhere: less is shown."""
    tokenizer = AutoTokenizer.from_pretrained(story.out / "discriminator")
    shards = story.shards
    monkeypatch.setattr(shards, "tokens", 60)
    assert len(sentences(shards, tokenizer, story.frequencies, count=3)) <= 3
    assert sentences(story.shards, tokenizer, np.zeros_like(story.frequencies)) == []


def test_look_marks_the_most_suspicious_word(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["the", "silent", "river", "follows", "the", "yellow", "stone", "beside", "a", "gentle", "window"]
    swapped = [Sentence(words, 2, "engine"), Sentence(words, 9, "zebra")]

    def suspect(word: str) -> list[Look]:
        """`look` through a discriminator that dislikes one word."""
        tokenizer = AutoTokenizer.from_pretrained(story.out / "discriminator")
        disliked = tokenizer(word, add_special_tokens=False)["input_ids"]

        class Biased:
            def eval(self) -> "Biased":
                return self

            def __call__(self, input_ids: torch.Tensor, **_: object) -> object:
                logits = torch.isin(input_ids, torch.tensor(disliked[-1:])).float()
                logits[:, [0, -1]] = 100.0  # [CLS] and [SEP] are no words, however suspicious
                return type("Output", (), {"logits": logits})

        monkeypatch.setattr(AutoModelForPreTraining, "from_pretrained", lambda *_: Biased())
        return look(story.out / "discriminator", swapped)

    first, second = suspect("engine")
    assert first.noticed and not second.noticed
    assert first.lines().splitlines()[0] == "the silent [engine] follows the yellow stone beside a gentle window"
    assert first.lines().splitlines()[1].strip() == '("river" became "engine": noticed)'
    assert second.lines().endswith('("gentle" became "zebra": missed)') and second.lines().count("[") == 1
    told = tell([first, second])
    assert told.index("engine") < told.index("zebra")
    assert told.endswith("noticed in 50% of 2 such sentences; a blind guess would be right in 9%")
    second = suspect("zebra")[1]  # a word of several tokens, of which one is suspicious
    assert "beside a [zebra] window" in second.lines() and second.noticed


def test_the_table_lines_up() -> None:
    swaps, samples = Verdict(0.8123, 0.7, 0.9, 0.875, 0.25, 0.125), Verdict(0.6, 1.0, 0.1, 0.96, 1.0, 0.04)
    lines = report(swaps, samples).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) < 100
    assert [line.split()[-2:] for line in lines[1:]] == [
        ["12.5%", "4.0%"],
        ["0.812", "0.600"],
        ["0.700", "1.000"],
        ["90.0%", "10.0%"],
        ["87.5%", "96.0%"],
        ["25.0%", "100.0%"],
    ]


def test_reload_compares_with_transformers(story: Story) -> None:
    run = tiny()
    shards = story.shards
    loader = Loader(run.packing.build(shards, run.length), shards.vocab, batch=4, seed=1)
    system = System(run.system, shards.vocab)
    checkpoint.load_weights(system, story.out / "run" / "checkpoints" / "step-000006")
    assert reload(system, story.out / "discriminator", loader) < 1e-4
    with pytest.raises(UserError, match="discriminator: transformers computes logits that differ by"):
        reload(System(run.system, shards.vocab), story.out / "discriminator", loader)
