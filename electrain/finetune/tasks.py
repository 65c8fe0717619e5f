"""A task by its name on the command line, read from where the options say."""

from typing import TYPE_CHECKING

from electrain.errors import UserError
from electrain.finetune.classify import ClassifyTask, RegressTask
from electrain.finetune.glue import HUB, TASKS, GlueTask
from electrain.finetune.heads import Kind
from electrain.finetune.settings import Finetune
from electrain.finetune.squad.sources import Files, find
from electrain.finetune.squad.task import SquadTask
from electrain.finetune.tagging import TaggingTask
from electrain.finetune.task import Task
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAMES = {
    **{name: spec.title for name, spec in TASKS.items()},
    "squad": "SQuAD 1.1, or questions in its form",
    "squad2": "SQuAD 2.0: questions that may have no answer",
    "classify": "your own table: a class for a text",
    "pair": "your own table: a class for two texts",
    "regress": "your own table: a number for a text, or for two (--second)",
    "tag": "your own CoNLL columns or data set: a tag for every word",
}


def task_of(
    name: str, how: Finetune, tokenizer: "PreTrainedTokenizerFast", vocab: Vocab, length: int, head: Kind
) -> Task:
    """The task `name`. UserError for data that cannot be used."""
    if name in TASKS:
        return GlueTask(name, how.data or HUB, tokenizer, vocab, length, head, how.train, how.dev)
    if name in ("squad", "squad2"):
        which = "squad" if name == "squad" else "squad2"
        if how.train and how.dev:
            files = Files(how.train, how.dev)
        else:
            files = find(how.data or ("squad" if name == "squad" else "squad_v2"), which)
            files = Files(how.train or files.train, how.dev or files.dev)
        return SquadTask(files, tokenizer, vocab, which, length)
    if not how.data and not how.train:
        raise UserError(f"finetune {name}: name your data with --data (a folder or a file), or --train and --dev")
    if name == "tag":
        return TaggingTask(name, how.data, tokenizer, vocab, length, how.train, how.dev, how.text, how.label)
    kind = RegressTask if name == "regress" else ClassifyTask
    columns = (how.text, how.second, how.label)
    return kind(name, how.data, tokenizer, vocab, length, head, how.train, how.dev, *columns)
