"""A user's own table: a class or a number for one text, or for two."""

import csv
import io
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Shaped

from electrain import files
from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.columns import INDEX, among, missing
from electrain.finetune.heads import Kind
from electrain.finetune.metrics import classes, figures, shares
from electrain.finetune.own import choose, held_out
from electrain.finetune.parts import Part, TextTask, joined
from electrain.finetune.splits import splits_of
from electrain.finetune.tables import Table, read_table
from electrain.finetune.task import Predictions
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHARE = 0.1  # of the training rows that is held out where there is no dev split


class OwnTask(TextTask):
    """What tasks from a user's tables share.

    source, train, dev   see `splits.splits_of`
    text, second, label  columns; by usual names where nothing is said
    share                of the training rows that is held out where there is no dev split, by a hash of their texts

    A test split needs no labels, and those it has are not read. UserError for what cannot be read.
    """

    def __init__(
        self,
        name: str,
        source: str | Path,
        tokenizer: "PreTrainedTokenizerFast",
        vocab: Vocab,
        length: int = 128,
        head: Kind = "dense",
        train: tuple[Path, ...] = (),
        dev: Path | None = None,
        text: str = "",
        second: str = "",
        label: str = "",
        share: float = SHARE,
    ):
        super().__init__(name, tokenizer, vocab, length, head)
        tables = splits_of(str(source), train, dev, read_table, lambda table: table)
        first = tables["train"][0]
        self.texts, self.label = choose(first, text, second, label, self.pairs())
        self.notes += [note for split in tables.values() for table in split for note in table.notes]
        self.notes.append(f"{first.file}: text in {' and '.join(self.texts)}, label in {self.label}")
        self.judged = ("dev",)
        self.unknown = ("test",) if "test" in tables else ()
        self.learn(tables["train"])
        for split in ("train", "dev", "test"):
            if found := tables.get(split):
                self.parts[split] = joined([self._part(table, labelled=split != "test") for table in found])
        if "dev" not in self.parts:
            self._hold_out(share)

    @abstractmethod
    def learn(self, train: Sequence[Table]) -> None:
        """Find classes or range in the training tables. UserError if there is nothing to learn."""

    @abstractmethod
    def answers(self, table: Table) -> tuple[Shaped[np.ndarray, " r"], Shaped[np.ndarray, " r"]]:
        """Targets and gold of a table (see `Part`)."""

    @abstractmethod
    def pairs(self) -> bool | None:
        """Whether there must be two texts a row, or one; None for two where two are found."""

    def _part(self, table: Table, *, labelled: bool) -> Part:
        for column in (*self.texts, *((self.label,) if labelled else ())):
            if column not in table.columns:
                raise missing(table, f"column {column!r}")
        read = tuple(columns.texts(table, column) for column in self.texts)
        index = among(table, INDEX)
        names = [str(value) for value in table.columns[index]] if index else [str(row) for row in range(len(table))]
        if labelled:
            target, gold = self.answers(table)
        else:
            target = gold = np.zeros(len(table), np.int64 if self.classes else np.float32)
        return Part(read, target[:, None], names, gold)

    def _hold_out(self, share: float) -> None:
        train = self.parts.pop("train")
        kinds = [str(number) for number in train.targets[:, 0]] if self.classes else None
        out = held_out(train.texts, share, kinds)
        for split, kept in (("train", ~out), ("dev", out)):
            rows = np.flatnonzero(kept).tolist()
            texts = tuple([column[row] for row in rows] for column in train.texts)
            self.parts[split] = Part(texts, train.targets[kept], [train.index[row] for row in rows], train.gold[kept])
        self.notes.append(
            f"no dev file: {int(out.sum()):,} of {len(out):,} rows are held out, by a hash of their texts"
        )


@final
class ClassifyTask(OwnTask):
    """A class for a text ("classify"), or for two ("pair").

    The classes are those of the training rows, sorted, numbers by value. `score` gives accuracy (by which the task is
    judged) and macro F1, of two classes also F1 of the second, and Matthews. `write` gives a tsv with the class and the
    probability of every class. UserError for one class only, a class that training has not, or numbers.
    """

    metric = "accuracy"

    def pairs(self) -> bool:
        if self.name not in ("classify", "pair"):
            raise UserError(f"no task {self.name!r} with classes; choose classify or pair")
        return self.name == "pair"

    @property
    def classes(self) -> int:
        return len(self.labels)

    def learn(self, train: Sequence[Table]) -> None:
        words = [word for table in train for word in columns.words(table, self.label)]
        file, counts = train[0].file, Counter(words)
        if len(counts) == 1:
            raise UserError(f"{file}: {self.label!r} is {words[0]!r} in every row; there must be two classes or more")
        if len(counts) == len(words) > 9 or any(_fraction(word) for word in counts):
            example = next(filter(_fraction, counts), words[0])
            raise UserError(
                f"{file}: {self.label!r} does not look like classes ({len(counts)} values in {len(words)} rows, as "
                f"{example!r}); choose another column with --label, or the task `regress` for numbers"
            )
        integers = all(word.lstrip("-").isdecimal() for word in counts)
        self.labels = tuple(sorted(counts, key=lambda word: (int(word), word)) if integers else sorted(counts))

    def answers(self, table: Table) -> tuple[Shaped[np.ndarray, " r"], Shaped[np.ndarray, " r"]]:
        number_of = {label: number for number, label in enumerate(self.labels)}
        words = columns.words(table, self.label)
        for row, word in enumerate(words):
            if word not in number_of:
                known = ", ".join(self.labels[:12]) + (", ..." if len(self.labels) > 12 else "")
                raise UserError(
                    f"{table.at(row)}: label {word!r} does not occur in training, which has {known}; mend it"
                )
        numbers = np.array([number_of[word] for word in words], np.int64)
        return numbers, numbers

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        names = ("accuracy", "macro_f1", *(("f1", "matthews") if self.classes == 2 else ()))
        return figures(names, classes(self.logits(split, predictions)), self.parts[split].gold)

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        logits = self.logits(split, predictions)
        header = ["index", "prediction", *(f"p({label})" for label in self.labels)]
        said = zip(self.parts[split].index, classes(logits), shares(logits), strict=True)
        lines = [[index, self.labels[best], *(f"{share:.6f}" for share in row)] for index, best, row in said]
        return [_tsv(folder / f"{split}.tsv", header, lines)]


@final
class RegressTask(OwnTask):
    """A number for a text, or for two ("regress").

    The head learns (x - min) / (max - min), with the training rows' smallest and largest number. `score` gives Pearson,
    Spearman (by which the task is judged), and the squared error in the table's own unit, as mean and its root.
    `write` gives a tsv with the number. UserError for a label that is no number, or the same in every row.
    """

    metric = "spearman"
    low: float
    high: float

    def pairs(self) -> None:
        return None

    @property
    def classes(self) -> int:
        return 0

    def learn(self, train: Sequence[Table]) -> None:
        numbers = [number for table in train for number in columns.numbers(table, self.label)]
        self.unit = self.low, self.high = min(numbers), max(numbers)
        if self.low == self.high:
            raise UserError(f"{train[0].file}: {self.label!r} is {self.low:g} in every row; there is nothing to learn")

    def answers(self, table: Table) -> tuple[Shaped[np.ndarray, " r"], Shaped[np.ndarray, " r"]]:
        numbers = np.array(columns.numbers(table, self.label))
        return ((numbers - self.low) / (self.high - self.low)).astype(np.float32), numbers

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        return figures(("pearson", "spearman", "mse", "rmse"), self._said(split, predictions), self.parts[split].gold)

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        said = zip(self.parts[split].index, self._said(split, predictions), strict=True)
        lines = [[index, f"{number:.6g}"] for index, number in said]
        return [_tsv(folder / f"{split}.tsv", ["index", "prediction"], lines)]

    def _said(self, split: str, predictions: Predictions) -> Shaped[np.ndarray, " r"]:
        return self.low + self.logits(split, predictions)[:, 0].astype(np.float64) * (self.high - self.low)


def _fraction(word: str) -> bool:
    """Whether a word is a number with decimals."""
    try:
        return "." in word and not float(word).is_integer()
    except (ValueError, OverflowError):
        return False


def _tsv(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([header, *rows])
    files.write(path, text.getvalue().encode())
    return path
