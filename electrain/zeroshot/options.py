"""What a person can choose about the verbs that judge a model as it is; the docstring under a field is its help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from electrain.errors import UserError

By = Literal["auto", "rtd", "pll", "both", "energy"]
Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Blimp:
    """Which sentence of a minimal pair does the model find more natural? BLiMP, or pairs in its form."""

    model: str
    """Folder of a run; or a folder or Hub name that transformers loads as an ELECTRA, BERT or ModernBERT."""
    data: str
    """Folder of paradigms (*.jsonl, *.jsonl.gz), or the name of a Hub data set with one configuration a paradigm."""
    by: By = "auto"
    """Score of a sentence: rtd, sum of log P(original) by the discriminator; pll, masked-LM pseudo-log-likelihood;
    both, the probability that discriminator and generator give together; energy, Electric's; auto takes the first
    that the model has of rtd, energy, pll."""
    generator: str = ""
    """Where the masked language model for pll and both is, if not in the model: a run, a folder, a Hub name."""
    rate: float | None = None
    """Share of the tokens that the generator replaced in pre-training, for both; the run's, or 0.15, without it."""
    checkpoint: str = "latest"
    """Of a run: latest, best (lowest held-out loss), or a step."""
    untrained: bool = False
    """Judge the same architecture with fresh weights instead: what chance gives."""
    out: Path | None = None
    """Folder for the results; without it, the folder blimp in the run's."""
    pairs: bool = False
    """Also write the two scores of every pair."""
    device: Device = "auto"
    """Device; auto takes a GPU where there is one."""
    dtype: Dtype = "float32"
    """Format of matrix products; bfloat16 is faster where the machine has it, and decides close pairs otherwise."""


@dataclass(frozen=True)
class Score:
    """Which words of a text look replaced (corrupted, misread, mistyped)? Lines of text in, lines of JSON out."""

    model: str
    """Folder of a run; or a folder or Hub name that transformers loads as an ELECTRA, BERT or ModernBERT."""
    file: str = "-"
    """File with a text a line, UTF-8; - for standard input."""
    threshold: float = 0.5
    """A word is suspicious if one of its tokens was replaced with at least this probability."""
    rescore: bool = False
    """Lines are candidates instead, {"candidates": [...]} or separated by tabs, and come back sorted by score."""
    by: By = "auto"
    """Score of a candidate, as in `electrain blimp`; words are judged by rtd."""
    generator: str = ""
    """Where the masked language model for pll and both is, if not in the model: a run, a folder, a Hub name."""
    rate: float | None = None
    """Share of the tokens that the generator replaced in pre-training, for both; the run's, or 0.15, without it."""
    checkpoint: str = "latest"
    """Of a run: latest, best (lowest held-out loss), or a step."""
    device: Device = "auto"
    """Device; auto takes a GPU where there is one."""
    dtype: Dtype = "float32"
    """Format of matrix products; bfloat16 is faster where the machine has it."""


@dataclass(frozen=True)
class Similarity:
    """Do cosines of sentence vectors follow people's scores of similarity? STS-B, or pairs of texts with a number."""

    model: str
    """Folder of a run; or a folder or Hub name that transformers loads as an ELECTRA, BERT or ModernBERT."""
    data: str
    """File with two texts and a score a row (tsv, csv, jsonl, parquet); a folder or Hub data set of such, whose dev
    split is read; GLUE's folder, for its STS-B."""
    text: str = ""
    """Column of the first text; found by common names unless said."""
    second: str = ""
    """Column of the second text."""
    label: str = ""
    """Column of the score."""
    checkpoint: str = "latest"
    """Of a run: latest, best (lowest held-out loss), or a step."""
    untrained: bool = False
    """Judge the same architecture with fresh weights instead: what the tokens alone give."""
    resamples: int = 1000
    """Resamples of the pairs that the intervals (95 per cent) are taken from."""
    out: Path | None = None
    """Folder for the results; without it, the folder similarity in the run's."""
    device: Device = "auto"
    """Device; auto takes a GPU where there is one."""
    dtype: Dtype = "float32"
    """Format of matrix products; bfloat16 is faster where the machine has it."""

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise UserError(f"--resamples {self.resamples}: choose 100 or more")
        if bool(self.text) != bool(self.second):
            raise UserError("similarity: name both texts, --text and --second, or neither")
