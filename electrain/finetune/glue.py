"""GLUE: its nine tasks from the Hub, from GLUE's own files, or from a folder of tables in its columns."""

from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from electrain.errors import UserError
from electrain.finetune import columns
from electrain.finetune.columns import INDEX, LABEL, among, missing, pair_among, plain
from electrain.finetune.heads import Kind
from electrain.finetune.metrics import classes, figures
from electrain.finetune.official import SCORED, TASKS, GlueScore, Spec, glue_score
from electrain.finetune.parts import Part, TextTask, joined
from electrain.finetune.splits import files_of, listed, split_of
from electrain.finetune.submission import submit
from electrain.finetune.tables import Table, read_hub, read_table
from electrain.finetune.task import Predictions
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HUB = "nyu-mll/glue"
TOP = 5.0  # of STS-B's scores
COLA = ("source", "label", "star", "sentence")  # its train.tsv and dev.tsv have no header

__all__ = ["HUB", "SCORED", "TASKS", "GlueScore", "GlueTask", "NoData", "Spec", "glue_score"]


class NoData(UserError):
    """A task's files are not there, as opposed to damaged."""


@final
class GlueTask(TextTask):
    """One of TASKS. `score` gives the benchmark's metrics, `write` its submission format.

    source  a Hub data set with a configuration a task (nyu-mll/glue where nothing is named), a folder with a folder a
            task, a task's own folder, or one with files such as mnli.train.jsonl
    train   files to train on, one after another, instead of the one found
    dev     a file to be judged on, instead of the one found (of MNLI: the matched section)

    Training rows of which a text is empty are left out, and counted in `about` (QQP has two); in the other splits they
    are errors. UserError (NoData where files are missing) for what cannot be read.
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
    ):
        if name not in TASKS:
            raise UserError(f"GLUE has no task {name!r}; choose one of {', '.join(TASKS)}")
        super().__init__(name, tokenizer, vocab, length, head)
        self.spec = spec = TASKS[name]
        self.metric, self.epochs, self.labels = spec.metric, spec.epochs, spec.labels
        self.unit = (0.0, TOP)
        wanted = list(spec.splits())
        tables = self._tables(str(source) or HUB, {"train": train, wanted[1]: (dev,) if dev else ()})
        for split in ("train", wanted[1]):
            if split not in tables:
                where = self._where(str(source) or HUB)
                raise NoData(
                    f"{where}: no {split!r} split of {spec.title}; there are: {self._there(where)}. "
                    f"Name a file with --{split.partition('_')[0]}"
                )
        self.judged = tuple(split for split in wanted if split in tables and split.startswith("dev"))
        self.unknown = tuple(split for split in wanted if split in tables and split.startswith("test"))
        self.notes += [
            f"no split {split!r}: not judged by it"
            for split in wanted
            if split.startswith("dev") and split not in tables
        ]
        for split in wanted:
            if split in tables:
                self.parts[split] = joined([self._part(split, table) for table in tables[split]])

    @property
    def classes(self) -> int:
        return len(self.labels)

    def score(self, split: str, predictions: Predictions) -> dict[str, float]:
        logits, part = self.logits(split, predictions), self.parts[split]
        if not self.classes:
            return figures(self.spec.metrics, logits[:, 0] * TOP, part.gold)
        return figures(self.spec.metrics, classes(logits), part.gold)

    def write(self, split: str, predictions: Predictions, folder: Path) -> list[Path]:
        logits, index = self.logits(split, predictions), self.parts[split].index
        if not self.classes:
            answers = [f"{score:.3f}" for score in (logits[:, 0] * TOP).clip(0, TOP)]
        else:
            answers = [self.spec.submitted[number] for number in classes(logits)]
        return [submit(self.spec, split, index, answers, folder)]

    def _tables(self, source: str, named: dict[str, tuple[Path, ...]]) -> dict[str, list[Table]]:
        """The tables of every split that is there, the named files in place of those found."""
        spec = self.spec
        named = {split: paths for split, paths in named.items() if paths}
        place = Path(self._where(source)).expanduser()
        tables: dict[str, list[Table]] = {}
        if place.is_dir():
            prefix = (*spec.names(), self.name)
            found = files_of(place, spec.splits(), prefix)
            if found:
                files = ", ".join(f"{split} {'+'.join(path.name for path in paths)}" for split, paths in found.items())
                self.notes.append(f"{spec.title} in {place}: {files}")
            tables = {
                split: [self._read(path) for path in paths] for split, paths in found.items() if split not in named
            }
        elif place.exists():
            raise UserError(f"{source}: is a file; give GLUE's folder, and single files with --train and --dev")
        elif source != HUB or len(named) < 2:
            for split, table in read_hub(source, self.name).items():
                if ours := split_of(split, spec.splits()):
                    tables[ours] = [table]
        for split, paths in named.items():
            tables[split] = [self._read(path.expanduser()) for path in paths]
            self.notes.append(f"{split}: {', '.join(map(str, paths))}")
        return tables

    def _where(self, source: str) -> str:
        """The task's own folder, if the source has one."""
        place = Path(source).expanduser()
        if place.is_dir():
            known = {*self.spec.names(), self.name}
            inner = [path for path in sorted(place.iterdir()) if path.is_dir() and plain(path.name) in known]
            if inner:
                return str(inner[0])
        return source

    def _there(self, where: str) -> str:
        place = Path(where).expanduser()
        return listed(place) if place.is_dir() else "none that can be read"

    def _read(self, path: Path) -> Table:
        headless = COLA if self.name == "cola" else ()
        return read_table(path, quoting="off" if ".tsv" in path.name else "auto", headless=headless, ragged="skip")

    def _part(self, split: str, table: Table) -> Part:
        spec = self.spec
        if len(spec.columns) == 2:
            texts = pair_among(table, ((spec.columns[0], spec.columns[1]),))
        else:
            one = among(table, [*spec.columns, *columns.SINGLE])
            texts = (one,) if one else None
        if texts is None:
            raise missing(table, f"columns {' and '.join(spec.columns)} (or usual names for them)")
        label = None if split in self.unknown else among(table, LABEL)
        if label is None and split not in self.unknown:
            raise missing(table, "column label (or a usual name for it)")
        if tuple(map(plain, texts)) != spec.columns or (label and plain(label) != "label"):
            read = ", ".join(filter(None, (*texts, label)))
            self.notes.append(
                f"{table.file}: columns {read} read as {', '.join(spec.columns)}{', label' if label else ''}"
            )
        if split == "train":
            table = self._without_blanks(table, texts)
        self.notes += table.notes
        read = tuple(columns.texts(table, column) for column in texts)
        index = among(table, INDEX)
        names = [str(value) for value in table.columns[index]] if index else [str(row) for row in range(len(table))]
        if label is None:
            gold = np.zeros(len(table), np.int64 if self.classes else np.float32)
            return Part(read, gold[:, None], names, gold)
        if not self.classes:
            gold = np.array(columns.numbers(table, label, 0.0, TOP), np.float32)
            return Part(read, gold[:, None] / np.float32(TOP), names, gold)
        gold = self._classes(table, label)
        return Part(read, gold[:, None], names, gold)

    def _without_blanks(self, table: Table, texts: tuple[str, ...]) -> Table:
        blank = [
            row for row in range(len(table)) if any(not str(table.columns[name][row] or "").strip() for name in texts)
        ]
        if not blank:
            return table
        if len(blank) == len(table):
            raise UserError(f"{table.file}: a text is empty in every row; give at least one row to train on")
        gone = set(blank)
        note = f"{table.at(blank[0])}: a text is empty; {len(blank)} such rows left out of training"
        return table.rows([row for row in range(len(table)) if row not in gone], note)

    def _classes(self, table: Table, column: str) -> np.ndarray:
        numbers = {str(number): number for number in range(self.classes)}
        named = {plain(label): number for number, label in enumerate(self.labels)}
        found = np.zeros(len(table), np.int64)
        for row, word in enumerate(columns.words(table, column)):
            number = numbers.get(word)
            if number is None and word[-1:].isalpha():  # plain("-1") would be "1"
                number = named.get(plain(word))
            if number is None:
                unlabelled = "; a test set goes by the name test" if word == "-1" else ""
                raise UserError(
                    f"{table.at(row)}: label {word!r} is none of {self.spec.title}'s; give 0 to {self.classes - 1} or "
                    f"{', '.join(self.labels)}{unlabelled}"
                )
            found[row] = number
        return found
