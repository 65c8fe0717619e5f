"""Targets: what fine-tuning and zero-shot judging read."""

import gzip
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.finetune.classify import ClassifyTask, RegressTask
from electrain.finetune.conll import of_table, read_conll
from electrain.finetune.glue import GlueTask
from electrain.finetune.squad.reading import read
from electrain.finetune.squad.scoring import score_file
from electrain.finetune.squad.sources import Files
from electrain.finetune.squad.task import SquadTask
from electrain.finetune.tables import read_table
from electrain.finetune.tagging import TaggingTask
from electrain.vocab import Vocab
from electrain.zeroshot import pairs
from electrain.zeroshot.lines import chunks
from electrain.zeroshot.rescore import rescored
from electrain.zeroshot.results import results, save, save_pairs, table
from fuzz.corpora import parquet
from fuzz.target import Target
from fuzz.world import SENTENCES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PASSAGE = "The cat sat on the mat in Paris, naïve."
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Cats",
            "paragraphs": [
                {
                    "context": PASSAGE,
                    "qas": [
                        {"id": "q1", "question": "Who sat?", "answers": [{"text": "cat", "answer_start": 4}]},
                        {"id": "q2", "question": "Where?", "is_impossible": False, "answers": [
                            {"text": "Paris", "answer_start": 26}, {"text": "mat", "answer_start": 19}]},
                        {"id": "q3", "question": "Why?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ],
}  # fmt: skip
MRQA = "\n".join(
    json.dumps(line)
    for line in (
        {"header": {"dataset": "x"}},
        {"context": PASSAGE, "qas": [{"qid": "a", "question": "Who?", "answers": ["cat"], "detected_answers": [
            {"text": "cat", "char_spans": [[4, 6]], "token_spans": [[1, 1]]}]}]},
        {"context": PASSAGE, "qas": [{"id": "b", "question": "When?", "detected_answers": []}]},
    )
).encode()  # fmt: skip
SAID, ODDS = {"q1": "cat", "q2": "Paris", "q3": ""}, {"q1": -3.5, "q2": 0.25, "q3": 4}
ROWS = tuple((number, f"{text[:20]} {number}") for number, text in enumerate(SENTENCES * 2))
CSV = "id,text,label,score\n" + "".join(f'{n},"{s}, ""{n}""",{"yes" if n % 2 else "no"},{n / 2}\n' for n, s in ROWS)
TABLE = [{"idx": n, "sentence1": s, "sentence2": SENTENCES[n % 3], "label": n % 2, "score": n / 3} for n, s in ROWS]
TSV = "index\tsentence\tlabel\n" + "".join(f"{n}\t{s}\t{n % 2}\n" for n, s in ROWS[:4])
CONLL = "-DOCSTART- -X- O\n\nThe DT O\ncat NN B-PER\n\nParis NNP B-LOC\nis VB O\nnaïve JJ O\n".encode()
TAGS = [{"tokens": ["The", "cat"], "ner_tags": ["O", "B-PER"]}, {"tokens": ["Paris"], "ner_tags": ["B-LOC"]}]
BLIMP = "\n".join(
    json.dumps(
        {"sentence_good": s, "sentence_bad": s[::-1], "UID": "x_1", "linguistics_term": "binding", "pairID": str(n)}
    )
    for n, s in ROWS[:2]
).encode()
LINES = b'{"candidates": ["one", "another"], "id": 7}\nthis\tor that\n\n{"candidates": []}\n'


def _lines(rows: list[dict]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def targets(world: Path) -> list[Target]:
    tokenizer = load_tokenizer(world / "data/tokenizer")
    vocab = vocab_of(tokenizer)
    squad, columns = json.dumps(SQUAD).encode(), parquet(**{key: [row[key] for row in TABLE] for key in TABLE[0]})
    tables = {
        "a.csv": CSV.encode(),
        "b.tsv": TSV.encode(),
        "c.jsonl": _lines(TABLE),
        "d.json": json.dumps(TABLE).encode(),
    }
    kinds = {"a.csv": "text", "b.tsv": "text", "c.jsonl": "jsonl", "d.json": "json"}
    cola = b"gj04\t1\t\tThe cat sat.\ngj04\t0\t*\tCat the sat.\n"
    rte = CSV.replace("text,", "sentence1,").replace("score", "sentence2").encode()
    glue = {"sst2/train.tsv": TSV.encode(), "mrpc/train.jsonl": _lines(TABLE), "stsb/train.parquet": columns,
            "cola/train.tsv": cola, "rte/train.csv": rte}  # fmt: skip
    dev = {name.replace("train", "dev"): content for name, content in glue.items()}
    predictions = {"dev.json": squad, "said.json": json.dumps(SAID).encode(), "odds.json": json.dumps(ODDS).encode()}
    blimp = {"x_1.jsonl": BLIMP, "y.jsonl.gz": gzip.compress(BLIMP.replace(b"x_1", b"y"))}
    own = {"train.csv": CSV.encode(), "dev.csv": CSV.encode(), "pairs.jsonl": _lines(TABLE)}
    tagged = {"train.conll": CONLL, "dev.conll": CONLL, "train.jsonl": _lines(TAGS), "dev.jsonl": _lines(TAGS)}
    return [
        Target("squad", "SQuAD's JSON", 130_000, {"a.json": squad}, {"a.json": "json"}, lambda f, n: read(f / n)),
        Target("mrqa", "MRQA's jsonl", 70_000, {"a.jsonl": MRQA}, {"a.jsonl": "jsonl"}, lambda f, n: read(f / n)),
        Target(
            "predictions", "files of answers and odds", 40_000, predictions, dict.fromkeys(predictions, "json"), scored,
        ),
        Target(
            "squad task", "questions to windows", 2_000, {"train.json": squad, "dev.json": squad},
            {"train.json": "json", "dev.json": "json"}, squad_task(tokenizer, vocab),
        ),
        Target("table", "tables: csv, tsv, jsonl, json", 110_000, tables, kinds, lambda f, n: read_table(f / n)),
        Target(
            "table.parquet", "tables: parquet", 4_000, {"a.parquet": columns}, {"a.parquet": "bytes"},
            lambda f, n: read_table(f / n),
        ),
        Target(
            "glue", "GLUE's tables, encoded", 2_000, {**glue, **dev},
            {name: "bytes" if "parquet" in name else "text" if name[-1] != "l" else "jsonl" for name in glue},
            glue_task(tokenizer, vocab),
        ),
        Target(
            "own table", "own tables as tasks", 1_500, own,
            {"train.csv": "text", "dev.csv": "text", "pairs.jsonl": "jsonl"}, own_task(tokenizer, vocab),
        ),
        Target(
            "conll", "CoNLL's columns", 130_000, {"a.conll": CONLL}, {"a.conll": "text"},
            lambda f, n: read_conll(f / n),
        ),
        Target(
            "tags", "tables of lists of words and tags", 70_000, {"a.jsonl": _lines(TAGS)}, {"a.jsonl": "jsonl"},
            lambda f, n: of_table(read_table(f / n)),
        ),
        Target(
            "tagging", "tagged text as a task", 2_000, tagged,
            {"train.conll": "text", "dev.conll": "text", "train.jsonl": "jsonl", "dev.jsonl": "jsonl"},
            tagging_task(tokenizer, vocab),
        ),
        Target(
            "blimp", "minimal pairs", 100_000, blimp, {"x_1.jsonl": "jsonl", "y.jsonl.gz": "bytes"},
            lambda f, n: pairs.read(str(f)),
        ),
        Target("blimp table", "minimal pairs, judged and shown", 2_000, blimp, {"x_1.jsonl": "jsonl"}, judged),
        Target("lines", "lines to score, candidates", 60_000, {"a": LINES}, {"a": "jsonl"}, candidates),
    ]  # fmt: skip


def scored(folder: Path, name: str) -> None:
    score_file(folder / "dev.json", folder / "said.json", "squad2", folder / "odds.json")


def squad_task(tokenizer: "PreTrainedTokenizerFast", vocab: Vocab) -> Callable[[Path, str], None]:
    def call(folder: Path, name: str) -> None:
        task = SquadTask(Files((folder / "train.json",), folder / "dev.json"), tokenizer, vocab, "squad2", 96)
        task.about()
        said = [
            (np.zeros(2), row.ids[:2] * 0, np.zeros((2, 2)), np.zeros((2, 2), np.int64), np.zeros(1))
            for row in task.rows("dev")
        ]
        task.score("dev", said)

    return call


def glue_task(tokenizer: "PreTrainedTokenizerFast", vocab: Vocab) -> Callable[[Path, str], None]:
    def call(folder: Path, name: str) -> None:
        task = GlueTask(name.partition("/")[0], folder, tokenizer, vocab)
        task.rows("train")
        task.about()

    return call


def own_task(tokenizer: "PreTrainedTokenizerFast", vocab: Vocab) -> Callable[[Path, str], None]:
    def call(folder: Path, name: str) -> None:
        if name == "pairs.jsonl":
            RegressTask("regress", folder / name, tokenizer, vocab, text="sentence1", label="score").about()
            task = ClassifyTask("pair", folder / name, tokenizer, vocab, share=0.4)
        else:
            task = ClassifyTask("classify", "", tokenizer, vocab, train=(folder / "train.csv",), dev=folder / "dev.csv")
        task.rows("train")
        task.about()
        said = [(np.zeros(task.classes),)] * len(task.rows("dev"))
        task.score("dev", said)
        for path in task.write("dev", said, folder / "said"):
            path.unlink()

    return call


def tagging_task(tokenizer: "PreTrainedTokenizerFast", vocab: Vocab) -> Callable[[Path, str], None]:
    def call(folder: Path, name: str) -> None:
        end = name.rpartition(".")[2]
        task = TaggingTask("tag", "", tokenizer, vocab, 32, (folder / f"train.{end}",), folder / f"dev.{end}")
        task.about()
        said = [(np.zeros((len(row.ids), len(task.labels))),) for row in task.rows("dev")]
        task.score("dev", said)

    return call


def judged(folder: Path, name: str) -> None:
    """The table and the files of a made-up judgement."""
    found = pairs.read(str(folder))
    scores = np.arange(2.0 * sum(len(paradigm.pairs) for paradigm in found)).reshape(-1, 2)
    made = results(found, scores)
    Console(file=io.StringIO(), width=100).print(table(made, f"{folder.name} [/x]"))
    for path in [*save(made, {}, folder, "said"), save_pairs(found, scores, folder / "said-pairs.json")]:
        path.unlink()


class _Constant:
    """In place of a model: every text is worth its length."""

    def sums(self, texts: list[str]) -> np.ndarray:
        return np.array([float(len(text.encode())) for text in texts])


@cache
def _judge() -> _Constant:
    return _Constant()


def candidates(folder: Path, name: str) -> None:
    number = 0
    for lines in chunks(str(folder / name)):
        for made in rescored(_judge(), lines, name, number):  # type: ignore[arg-type]
            json.dumps(made, ensure_ascii=False).encode()
        number += len(lines)
