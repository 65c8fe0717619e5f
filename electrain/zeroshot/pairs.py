"""Minimal pairs in BLiMP's form, from a folder or the Hub."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from electrain.data.corpus import damage, open_file, parsed
from electrain.errors import UserError, reason

ENDINGS = (".jsonl", ".jsonl.gz")
# The data's `linguistics_term` has thirteen values, the paper (Warstadt et al., 2020) twelve phenomena: it counts the
# two paradigms of selection (animate_subject_passive, animate_subject_trans) as argument structure.
_AS_PUBLISHED = {"s-selection": "argument_structure"}
_NUMBERED = {
    "determiner_noun_agreement": 2,
    "determiner_noun_agreement_irregular": 2,
    "determiner_noun_agreement_with_adj_irregular": 2,
    "ellipsis_n_bar": 2,
    "existential_there_quantifiers": 2,
    "irregular_plural_subject_verb_agreement": 2,
    "npi_present": 2,
    "passive": 2,
    "principle_A_case": 2,
    "principle_A_domain": 3,
    "regular_plural_subject_verb_agreement": 2,
    "superlative_quantifiers": 2,
    "tough_vs_raising": 2,
}
_SINGLE = """
adjunct_island anaphor_gender_agreement anaphor_number_agreement animate_subject_passive animate_subject_trans causative
complex_NP_island coordinate_structure_constraint_complex_left_branch coordinate_structure_constraint_object_extraction
determiner_noun_agreement_with_adj_2 determiner_noun_agreement_with_adjective_1 distractor_agreement_relational_noun
distractor_agreement_relative_clause drop_argument existential_there_object_raising existential_there_subject_raising
expletive_it_object_raising inchoative intransitive irregular_past_participle_adjectives irregular_past_participle_verbs
left_branch_island_echo_question left_branch_island_simple_question matrix_question_npi_licensor_present
only_npi_licensor_present only_npi_scope principle_A_c_command principle_A_reconstruction
sentential_negation_npi_licensor_present sentential_negation_npi_scope sentential_subject_island transitive wh_island
wh_questions_object_gap wh_questions_subject_gap wh_questions_subject_gap_long_distance wh_vs_that_no_gap
wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance
"""
PARADIGMS = frozenset(_SINGLE.split()) | {f"{name}_{i + 1}" for name, count in _NUMBERED.items() for i in range(count)}
"""The 67 of BLiMP, by their UID."""


class Pair(NamedTuple):
    """Two sentences of which the first is acceptable and the second is not."""

    good: str
    bad: str


class Paradigm(NamedTuple):
    """Pairs that differ in one and the same way.

    uid         BLiMP's name
    phenomenon  what the paradigm is a case of
    """

    uid: str
    phenomenon: str
    pairs: list[Pair]


def read(data: str) -> list[Paradigm]:
    """The paradigms of a folder's *.jsonl and *.jsonl.gz files, or of a Hub data set, by phenomenon and name.

    Of a record are read sentence_good and sentence_bad; UID (or the file's name), linguistics_term (or "unnamed").
    UserError if there are none, or a record is damaged, or a paradigm is there twice.
    """
    folder = Path(data).expanduser()
    if (folder / "run.json").exists():
        raise UserError(f"{data}: is a run, which --model names; --data is the folder of minimal pairs")
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS) and path.name[0] != ".")
        if not files:
            raise UserError(f"{data}: no paradigms in this folder; files ending in {' or '.join(ENDINGS)} are read")
        parts = [(path.name.split(".")[0], str(path), _lines(path)) for path in files]
    elif folder.exists():
        raise UserError(f"{data}: is a file; give the folder that it lies in")
    else:
        parts = [(name, f"{data}, {name}", _hub(data, name)) for name in _configurations(data)]
    found: dict[str, Paradigm] = {}
    origin: dict[str, str] = {}
    for name, place, records in parts:
        for where, record in records:
            uid = str(record.get("UID") or name)
            term = str(record.get("linguistics_term") or "unnamed")
            paradigm = found.setdefault(uid, Paradigm(uid, _AS_PUBLISHED.get(term, term), []))
            if origin.setdefault(uid, place) != place:
                raise UserError(f"{where}: paradigm {uid} is also in {origin[uid]}; take one of them away")
            paradigm.pairs.append(
                Pair(_sentence(record, "sentence_good", where), _sentence(record, "sentence_bad", where))
            )
    if not found:
        raise UserError(f"{data}: holds no pairs; copy it again")
    return sorted(found.values(), key=lambda paradigm: (paradigm.phenomenon, paradigm.uid))


def _sentence(record: Mapping, field: str, where: str) -> str:
    text = record.get(field)
    if not isinstance(text, str) or not text.strip():
        what = "is empty" if isinstance(text, str) else f"is {type(text).__name__}, not text" if field in record else ""
        raise UserError(f"{where}: {field} {what or 'is not there'}; mend the line or take it away")
    return text


def _lines(path: Path) -> Iterator[tuple[str, Mapping]]:
    """Records with their place."""
    number = 0
    try:
        with open_file(str(path)) as file:
            while line := file.readline(1 << 20):
                number += 1
                if line.strip():
                    record = parsed(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                    if not isinstance(record, dict):
                        raise ValueError(f"a {type(record).__name__}, not an object")
                    yield f"{path}: line {number}", record
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: line {number} is not valid JSON ({error}); mend it or take it away") from error
    except damage(str(path)) as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error}); copy it again") from error


def _configurations(data: str) -> list[str]:
    import datasets

    if data.count("/") > 1 or data.startswith((".", "/", "~")):
        raise UserError(f"{data}: no such folder; check the path given to --data")
    try:
        return sorted(datasets.get_dataset_config_names(data))
    except Exception as error:  # of many kinds, down to plain HTTP errors; each means: not readable
        raise UserError(
            f"{data}: neither a folder here nor a readable Hub data set ({reason(error)}); check --data"
        ) from error


def _hub(data: str, name: str) -> Iterator[tuple[str, Mapping]]:
    """Records of a configuration: of all its splits (BLiMP has one, called train)."""
    import datasets

    try:
        splits = datasets.load_dataset(data, name)
    except Exception as error:  # as above
        raise UserError(f"{data}, {name}: cannot be read from the Hub ({reason(error)}); try again") from error
    assert isinstance(splits, datasets.DatasetDict)
    for split, rows in splits.items():
        for number, record in enumerate(rows):
            assert isinstance(record, Mapping)
            yield f"{data}, {name}, {split}: row {number}", record
