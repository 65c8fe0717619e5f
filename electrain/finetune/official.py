"""The nine tasks of GLUE as the benchmark defines them, and ELECTRA's score over eight of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from electrain.finetune.columns import plain
from electrain.finetune.splits import NAMES


@dataclass(frozen=True)
class Spec:
    """A task of GLUE (Wang et al., 2019).

    title    as the benchmark writes it, also of its folder and its submission
    columns  plain names of its texts
    labels   classes in the order of their numbers, none where a score from 0 to 5 is asked for
    metric   what ELECTRA's paper reports (section 3.1)
    metrics  the benchmark's own
    submitted  what the submission calls the classes
    epochs   ELECTRA, appendix B
    sections of its dev and test sets
    aliases  other plain names of the task
    """

    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metric: str = "accuracy"
    metrics: tuple[str, ...] = ("accuracy",)
    submitted: tuple[str, ...] = ("0", "1")
    epochs: float = 3.0
    sections: tuple[str, ...] = ("",)
    aliases: tuple[str, ...] = ()

    def splits(self) -> dict[str, tuple[str, ...]]:
        """Splits by the plain names that each goes by. The first section of MNLI is also plain "dev" and "test"."""
        found = {"train": NAMES["train"]}
        for split in ("dev", "test"):
            for number, section in enumerate(self.sections):
                names = tuple(name + section for name in NAMES[split])
                short = {"matched": "m", "mismatched": "mm"}.get(section)
                also = tuple(short + name for name in NAMES[split]) if short else ()
                bare = NAMES[split] if section and not number else ()
                found[f"{split}_{section}" if section else split] = (*names, *also, *bare)
        return found

    def names(self) -> tuple[str, ...]:
        """Plain names of the task's folder, or before a split in a file's name."""
        return (plain(self.title), *self.aliases)


_ENTAILMENT = ("entailment", "not_entailment")
_PARAPHRASE = ("accuracy", "f1")
TASKS: dict[str, Spec] = {
    # (msr_paraphrase_train.txt, which GLUE's script leaves beside MRPC's train.tsv, holds the dev rows too: not read.)
    "cola": Spec("CoLA", ("sentence",), ("unacceptable", "acceptable"), "matthews", ("matthews",)),
    "sst2": Spec("SST-2", ("sentence",), ("negative", "positive"), aliases=("sst",)),
    "mrpc": Spec(
        "MRPC", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), metrics=_PARAPHRASE,
    ),
    "stsb": Spec(
        "STS-B", ("sentence1", "sentence2"), (), "spearman", ("spearman", "pearson"), (), 10.0,
        aliases=("stsbenchmark", "sts"),
    ),
    "qqp": Spec("QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), metrics=_PARAPHRASE),
    "mnli": Spec(
        "MNLI", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"),
        submitted=("entailment", "neutral", "contradiction"), sections=("matched", "mismatched"), aliases=("multinli",),
    ),
    "qnli": Spec("QNLI", ("question", "sentence"), _ENTAILMENT, submitted=_ENTAILMENT),
    "rte": Spec("RTE", ("sentence1", "sentence2"), _ENTAILMENT, submitted=_ENTAILMENT, epochs=10.0),
    "wnli": Spec("WNLI", ("sentence1", "sentence2"), ("not_entailment", "entailment")),
}  # fmt: skip
SCORED = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


class GlueScore(NamedTuple):
    """ELECTRA's GLUE score (0 to 1; NaN without any task), and the tasks that it is without."""

    value: float
    missing: tuple[str, ...]


def glue_score(medians: Mapping[str, float]) -> GlueScore:
    """The unweighted mean of each task's one metric over all but WNLI; MNLI's is that of the matched section.

    medians: by task, the median over fine-tunings from one checkpoint (ELECTRA, section 3.1 and appendix B)
    Without all eight tasks it is no GLUE score: `missing` says which.
    """
    there = [medians[name] for name in SCORED if name in medians]
    missing = tuple(name for name in SCORED if name not in medians)
    return GlueScore(sum(there) / len(there) if there else float("nan"), missing)
