"""Tagging: named entities, chunks, or any class a word."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from electrain.encoders.base import Encoder
from electrain.errors import UserError
from electrain.finetune import splits
from electrain.finetune.conll import ENDINGS, Sentences, of_table, read_conll, write_conll
from electrain.finetune.entities import OUTSIDE, chunked, judge, parse, word_accuracy
from electrain.finetune.heads import IGNORE, Tagger
from electrain.finetune.metrics import finite
from electrain.finetune.tables import read_table
from electrain.finetune.task import Head, Predictions, Row, Task
from electrain.finetune.texts import core_of
from electrain.finetune.words import Pieces, cut, tokens_of
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TABLES = (".jsonl", ".ndjson", ".json", ".parquet")


@final
class TaggingTask(Task):
    """A tag for every word.

    source  a folder with train, dev (valid, testa) and test files, or a Hub data set; CoNLL's columns, or jsonl or
            parquet with lists of words and tags
    train, dev  files that stand in for those found
    text, label columns of lists, by usual names where nothing is said; of CoNLL's columns `label` is a number from 1,
                the last where nothing is said

    Tags that mark entities are judged by the F1 of entities (conlleval's), others by accuracy. `write` gives CoNLL's
    columns: word, tag (where known), predicted tag. UserError for what cannot be read, and for a tag whose kind
    training has not. One of which training has the kind only (I-LST where it has B-LST) is noted and counts as missed.
    """

    def __init__(
        self,
        name: str,
        source: str | Path,
        tokenizer: "PreTrainedTokenizerFast",
        vocab: Vocab,
        length: int = 128,
        train: tuple[Path, ...] = (),
        dev: Path | None = None,
        text: str = "",
        label: str = "",
    ):
        self.name, self.length, self.vocab = name, length, vocab
        self.core = core_of(tokenizer, vocab)
        self.text, self.label = text, label
        self.notes: list[str] = []
        self.sentences = self._sentences(str(source), train, dev)
        for split in ("train", "dev"):
            if split not in self.sentences:
                raise UserError(f"{source or 'no data'}: no {split!r} split to tag; name a file with --{split}")
            for part in self.sentences[split]:
                if part.tags is None:
                    raise UserError(f"{part.file}: words without tags; name the tags' column with --label")
        self.judged, self.unknown = ("dev",), ("test",) if "test" in self.sentences else ()
        counts = Counter(tag for tags in self.tags("train") for tag in tags)
        if len(counts) == 1:
            raise UserError(f"{self.sentences['train'][0].file}: every word has the tag {next(iter(counts))!r}")
        self.labels = tuple(sorted(counts, key=lambda tag: (tag != OUTSIDE, tag)))
        self.chunks = chunked(self.labels)
        self.metric = "f1" if self.chunks else "accuracy"
        self._check()
        self._pieces: dict[str, Pieces] = {}

    def words(self, split: str) -> list[list[str]]:
        """The words of every sentence."""
        return [words for part in self.sentences[split] for words in part.words]

    def tags(self, split: str) -> list[list[str]]:
        """The tags of every sentence; none where the split has none."""
        return [tags for part in self.sentences[split] for tags in part.tags or ()]

    def rows(self, split: str) -> Sequence[Row]:
        return self._cut(split).rows

    def head(self, encoder: Encoder, dropout: float) -> Head:
        return Tagger(encoder, len(self.labels), dropout)

    def predicted(self, split: str, predictions: Predictions) -> list[list[str]]:
        """The likeliest tag of every word. UserError for NaN."""
        cut = self._cut(split)
        if len(predictions) != len(cut.rows):
            raise UserError(f"{self.name}, {split}: {len(predictions)} predictions for {len(cut.rows)} rows")
        said: list[list[str]] = [[] for _ in self.words(split)]
        for piece, (logits, *_) in zip(cut.pieces, predictions, strict=True):
            chosen = np.asarray(logits, np.float32)[piece.places]
            finite(f"{self.name}, {split}, sentence {piece.sentence + 1}", chosen)
            said[piece.sentence] += [self.labels[number] for number in chosen.argmax(1)]
        return said

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        said, gold = self.predicted(split, predictions), self.tags(split)
        if not self.chunks:
            return {"accuracy": word_accuracy(said, gold)}
        found = judge(said, gold)
        return {"f1": found.f1, "precision": found.precision, "recall": found.recall, "accuracy": found.accuracy}

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        columns = [self.words(split), self.predicted(split, predictions)]
        if all(part.tags is not None for part in self.sentences[split]):
            columns.insert(1, self.tags(split))
        return [write_conll(folder / f"{split}.conll", columns)]

    def about(self) -> list[str]:
        lines = list(self.notes)
        for split in self.sentences:
            cut = self._cut(split)
            words = self.words(split)
            lines.append(f"{split}: {len(words):,} sentences, {sum(map(len, words)):,} words")
            if cut.cut:
                lines[-1] += f"; {cut.cut:,} sentences longer than {self.length} tokens are read in pieces"
            if cut.long:
                lines[-1] += f"; {cut.long:,} words longer than that lost their ends"
        counts = Counter(tag for tags in self.tags("train") for tag in tags)
        shown = [f"{tag} {counts[tag]:,}" for tag in self.labels]
        kind = "marking entities" if self.chunks else "a class a word"
        lines.append(f"{len(shown)} tags, {kind}: {', '.join(shown[:24])}{', ...' if len(shown) > 24 else ''}")
        return lines

    def _cut(self, split: str) -> Pieces:
        if split not in self._pieces:
            number_of = {tag: number for number, tag in enumerate(self.labels)}
            words = self.words(split)
            tags = self.tags(split) if split not in self.unknown else [["" for _ in sentence] for sentence in words]
            classes = [[number_of.get(tag, IGNORE) for tag in sentence] for sentence in tags]
            self._pieces[split] = cut(tokens_of(self.core, self.vocab, words), classes, self.vocab, self.length)
        return self._pieces[split]

    def _sentences(self, source: str, train: tuple[Path, ...], dev: Path | None) -> dict[str, list[Sentences]]:
        found = splits.splits_of(
            source,
            train,
            dev,
            self._read,
            lambda table: of_table(table, self.text, self.label),
            prefix=("eng", "esp", "ned", "deu"),  # CoNLL-2002's and 2003's own files: eng.testa
            endings=(*ENDINGS, *TABLES),
        )
        order = [split for split in ("train", "dev", "test") if split in found]
        self.notes += [note for split in order for part in found[split] for note in part.notes]
        return {split: found[split] for split in order}

    def _read(self, path: Path) -> Sentences:
        if splits.stem(path, TABLES) is not None:
            return of_table(read_table(path), self.text, self.label)
        if self.label and not self.label.isdecimal():
            raise UserError(f"{path}: CoNLL's columns have no names; --label {self.label!r} must be a number from 1")
        return read_conll(path, int(self.label) if self.label else None)

    def _check(self) -> None:
        """Tags of the dev split that training has not."""
        known = set(self.labels)
        kinds = {parse(tag)[1] for tag in known} if self.chunks else set()
        odd: Counter[str] = Counter()
        for part in self.sentences["dev"]:
            for place, tags in zip(part.places, part.tags or (), strict=True):
                for number, tag in enumerate(tags, 1):
                    if tag in known:
                        continue
                    if not (self.chunks and chunked([tag]) and parse(tag)[1] in kinds):
                        raise UserError(
                            f"{place}, word {number} of the sentence: tag {tag!r} does not occur in training"
                        )
                    odd[tag] += 1
        self.notes += [
            f"dev: {count} of {tag}, which training has not: counted as missed" for tag, count in odd.items()
        ]
