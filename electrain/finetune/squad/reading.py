"""Questions from SQuAD's JSON, MRQA's lines or a Hub data set, with what was wrong with their answers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from electrain.errors import UserError, reason
from electrain.finetune.squad.loading import load, parse, text_of
from electrain.finetune.squad.sources import Hub, Source

T = TypeVar("T", str, list, dict, int)
KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a passage.

    gold       every accepted answer; none where the passage does not answer
    span       characters [first, last) of the first answer that the passage holds; None if it holds none
    impossible whether the set says that the passage does not answer
    """

    id: str
    text: str
    passage: str
    gold: tuple[str, ...]
    span: tuple[int, int] | None
    impossible: bool


@dataclass(frozen=True)
class Reading:
    """A set as it was read.

    moved  answers found elsewhere than where the set says: the nearest occurrence was taken
    lost   questions that have an answer by the set, but none that stands in the passage: of no use for training
    """

    questions: tuple[Question, ...]
    moved: int = 0
    lost: int = 0


class Answer(NamedTuple):
    """An accepted answer and the character of the passage that it starts at."""

    text: str
    start: int


class Entry(NamedTuple):
    """A question as its file has it; `where` leads to it."""

    id: str
    text: str
    passage: str
    gold: tuple[str, ...]
    answers: tuple[Answer, ...]
    impossible: bool
    where: str


def read(source: Source) -> Reading:
    """Every question of a set, in its order. Layouts: Rajpurkar et al. (2016, 2018); Fisch et al. (MRQA, 2019).

    UserError, with file and place, if the set is missing, damaged or of another layout, has an empty passage or
    question, or the same id twice.
    """
    if isinstance(source, Hub):
        return _checked(_hub(source))
    if ".jsonl" in source.suffixes:
        return _checked(_mrqa(source))
    return _checked(_squad(source))


def locate(passage: str, text: str, start: int) -> int | None:
    """Where `text` stands in the passage: at `start`, or as near to it as it occurs; None if it does not."""
    if not text:
        return None
    if start >= 0 and passage.startswith(text, start):
        return start
    before = passage.rfind(text, 0, max(start, 0) + len(text))
    after = passage.find(text, max(start, 0))
    found = [place for place in (before, after) if place >= 0]
    return min(found, key=lambda place: abs(place - start), default=None)


def _checked(entries: Iterable[Entry]) -> Reading:
    questions: list[Question] = []
    ids: set[str] = set()
    moved = lost = 0
    for entry in entries:
        for name, text in (("question", entry.text), ("passage", entry.passage)):
            if not text.strip():
                raise UserError(f"{entry.where}: the {name} is empty; give it a text or take it out")
        if entry.id in ids:
            raise UserError(f"{entry.where}: the id {entry.id!r} occurred before; give each question its own")
        ids.add(entry.id)
        span = None
        for answer in () if entry.impossible else entry.answers:
            if (place := locate(entry.passage, answer.text, answer.start)) is not None:
                span = place, place + len(answer.text)
                moved += place != answer.start
                break
        lost += span is None and not entry.impossible
        questions.append(Question(entry.id, entry.text, entry.passage, entry.gold, span, entry.impossible))
    return Reading(tuple(questions), moved, lost)


def _squad(path: Path) -> Iterator[Entry]:
    whole = load(path)
    for a, article in enumerate(_field(_kind(whole, dict, str(path)), "data", list, str(path)), 1):
        at = f"{path}: article {a}"
        for p, paragraph in enumerate(_field(_kind(article, dict, at), "paragraphs", list, at), 1):
            at = f"{path}: article {a}, paragraph {p}"
            passage = _field(_kind(paragraph, dict, at), "context", str, at)
            for q, record in enumerate(_field(paragraph, "qas", list, at), 1):
                where = f"{at}, question {q}"
                qa = _kind(record, dict, where)
                # A test set's questions, and those of 2.0 without an answer, may have no list.
                given = _field(qa, "answers", list, where) if "answers" in qa else []
                answers = tuple(_answer(answer, where) for answer in given)
                impossible = qa.get("is_impossible", not answers)
                if not isinstance(impossible, bool):
                    raise UserError(f"{where}: is_impossible is {impossible!r}; write true or false")
                gold = tuple(answer.text for answer in answers)
                yield Entry(
                    _id(qa, ("id",), where),
                    _field(qa, "question", str, where),
                    passage,
                    gold,
                    answers,
                    impossible,
                    where,
                )


def _mrqa(path: Path) -> Iterator[Entry]:
    for number, line in enumerate(text_of(path).split("\n"), 1):
        at = f"{path}: line {number}"
        if not line.strip():
            continue
        record = _kind(parse(line, at), dict, at)
        if "header" in record:
            continue
        passage = _field(record, "context", str, at)
        for q, qa in enumerate(_field(record, "qas", list, at), 1):
            where = f"{at}, question {q}"
            answers = []
            for found in _field(_kind(qa, dict, where), "detected_answers", list, where):
                spans = _field(_kind(found, dict, where), "char_spans", list, where)
                text = found.get("text")
                for span in spans:
                    if not (isinstance(span, list) and len(span) == 2 and all(isinstance(n, int) for n in span)):
                        raise UserError(f"{where}: char_spans holds {span!r}; write [first, last] characters")
                    there = passage[max(span[0], 0) : span[1] + 1]  # the last character is part of the answer
                    # The text beside the span may differ from it in case and spaces.
                    same = not isinstance(text, str) or text.lower().split() == there.lower().split()
                    answers.append(Answer(there if same else text, span[0]))
            gold = qa.get("answers", [answer.text for answer in answers])
            if not (isinstance(gold, list) and all(isinstance(text, str) for text in gold)):
                raise UserError(f"{where}: the answers are not a list of texts; see MRQA's layout")
            yield Entry(
                _id(qa, ("qid", "id"), where),
                _field(qa, "question", str, where),
                passage,
                tuple(gold),
                tuple(answers),
                not gold,
                where,
            )


def _hub(source: Hub) -> Iterator[Entry]:
    import datasets

    try:
        rows = datasets.load_dataset(source.name, source.config or None, split=source.split)
    except Exception as error:  # the library raises many kinds, down to plain HTTP errors; each means: not readable
        raise UserError(
            f"{source}: no data set could be read ({reason(error)}); check the name and its splits"
        ) from error
    columns = [str(column) for column in getattr(rows, "column_names", None) or []]
    if missing := [name for name in ("id", "context", "question", "answers") if name not in columns]:
        raise UserError(
            f"{source}: no column {', '.join(missing)} among {', '.join(columns)}; it needs the columns of squad_v2"
        )
    for number, record in enumerate(rows):
        where = f"{source}: row {number}"
        row = _kind(record, dict, where)
        answers = _field(row, "answers", dict, where)
        texts, starts = _field(answers, "text", list, where), _field(answers, "answer_start", list, where)
        if len(texts) != len(starts):
            raise UserError(f"{where}: {len(texts)} answers, but {len(starts)} starts; give each one a start")
        pairs = tuple(
            Answer(_kind(text, str, where), _kind(start, int, where)) for text, start in zip(texts, starts, strict=True)
        )
        passage, gold = _field(row, "context", str, where), tuple(pair.text for pair in pairs)
        text = _field(row, "question", str, where)
        yield Entry(_id(row, ("id",), where), text, passage, gold, pairs, not pairs, where)


def _answer(record: Any, where: str) -> Answer:
    answer = _kind(record, dict, where)
    return Answer(_field(answer, "text", str, where), _field(answer, "answer_start", int, where))


def _id(record: dict, names: tuple[str, ...], where: str) -> str:
    for name in names:
        if isinstance(record.get(name), str | int):
            return str(record[name])
    raise UserError(f"{where}: there is no id; give each question its own")


def _field(record: dict, name: str, kind: type[T], where: str) -> T:
    if name not in record:
        raise UserError(f"{where}: there is no {name!r}; the file is not in SQuAD's layout (or MRQA's, where .jsonl)")
    value = record[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {name!r} is not {KINDS[kind]}; the file is not in SQuAD's layout")
    return value


def _kind(value: Any, kind: type[T], where: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {KINDS[kind]} was expected; the file is not in SQuAD's layout")
    return value
