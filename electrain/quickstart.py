"""The whole story on the built-in corpus: prepare, train, evaluate, export, reload, and look at three sentences."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from electrain import checkpoint
from electrain.data import frequencies as counts
from electrain.data.corpus import BUILTIN
from electrain.data.loader import Loader
from electrain.data.prepare import prepare
from electrain.data.settings import Prepare
from electrain.data.shards import Shards
from electrain.errors import UserError
from electrain.hub.export import export
from electrain.hub.folder import quiet
from electrain.hub.weights import part_of
from electrain.judge import Verdict, judge
from electrain.recipes.tiny import electra_tiny
from electrain.run import Run
from electrain.systems.base import Pretraining
from electrain.tracking import say
from electrain.train import pretrain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCAB_SIZE = 8192
PARTS = ("data", "run", "discriminator", "generator")


def quickstart(out: Path, run: Run | None = None, corpus: str = BUILTIN) -> None:
    """Make OUT/data, OUT/run, OUT/discriminator and OUT/generator, and print what they are worth.

    A second call goes on where the first was stopped. UserError if OUT holds something else.
    """
    from transformers import AutoTokenizer

    began = time.monotonic()
    run = electra_tiny() if run is None else run
    data, run_dir = out / "data", out / "run"
    if out.is_dir() and (other := {path.name for path in out.iterdir() if path.name[0] != "."} - set(PARTS)):
        raise UserError(f"--out {out}: holds other files ({min(other)}); choose an empty or a new folder")
    say(f"1/4  the corpus: {'documentation in this Python installation' if corpus == BUILTIN else corpus}")
    prepare(Prepare(corpus=(corpus,), out=data, vocab_size=VOCAB_SIZE, validation=0.01))
    say(f"2/4  training {run.recipe}: {run.steps} steps of {run.batch * run.length} tokens")
    path = pretrain(run, data, run_dir, f"electrain quickstart --out {out}")
    say("3/4  judging it on held-out documents")
    shards = Shards.open(data, "validation")
    system = run.system.build(shards.vocab)
    checkpoint.load_weights(system, path)
    loader = Loader(run.packing.build(shards, run.length), shards.vocab, batch=64, seed=1)
    frequencies = counts.load(data)
    swaps, samples = judge(system, loader, 512, frequencies)
    say("4/4  exporting, and loading the export with transformers")
    folders = {part: export(run_dir, out / part, part=part) for part in ("discriminator", "generator")}
    difference = reload(system, folders["discriminator"], loader)
    print(report(swaps, samples))
    tokenizer = AutoTokenizer.from_pretrained(folders["discriminator"])
    if looks := look(folders["discriminator"], sentences(shards, tokenizer, frequencies)):
        print("\nOne word of each of these held-out sentences was exchanged. The most suspicious is marked [so]:\n")
        print(tell(looks))
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"""
Where everything lies ({minutes} min {seconds} s):
  {data}    tokenizer, token files, manifest
  {run_dir}    run.json, metrics.jsonl, checkpoints
  {folders["discriminator"]}    AutoModel.from_pretrained(...); logits differ by {difference:.0e} from ours
  {folders["generator"]}    pipeline("fill-mask", ...)

Next, with your own text (files, folders, .jsonl, .parquet):
  electrain prepare --corpus TEXT... --out data/mine
  electrain pretrain electra_small_hour --data data/mine --out runs/mine     (with a GPU: electra_small)
  electrain export runs/mine --out models/mine""")


def report(swaps: Verdict, samples: Verdict) -> str:
    """A table of the two verdicts for people."""
    rows = [
        ("", "words swapped by frequency", "the generator's samples"),
        ("tokens replaced", f"{swaps.share:.1%}", f"{samples.share:.1%}"),
        ("AUC: tells replaced from original", f"{swaps.auc:.3f}", f"{samples.auc:.3f}"),
        ("  a score that knows frequency only", f"{swaps.unigram_auc:.3f}", f"{samples.unigram_auc:.3f}"),
        ("accuracy over all tokens", f"{swaps.accuracy:.1%}", f"{samples.accuracy:.1%}"),
        ("  calling every token original", f"{swaps.majority:.1%}", f"{samples.majority:.1%}"),
        ("replaced tokens found", f"{swaps.found:.1%}", f"{samples.found:.1%}"),
    ]
    return "\n".join(f"  {a:<36}{b:>28}{c:>26}" for a, b, c in rows)


@torch.no_grad()
def reload(system: Pretraining, folder: Path, loader: Loader) -> float:
    """Largest difference between our logits and those of the exported folder in transformers; UserError above 1e-4."""
    from transformers import AutoModelForPreTraining

    with quiet():
        theirs = AutoModelForPreTraining.from_pretrained(folder).eval()
    batch = loader.step(0)[0]
    system.eval()
    model = part_of(system, "discriminator")
    ours = model.head(model.encoder(batch.ids, batch.real, batch.segments))
    other = theirs(input_ids=batch.ids, attention_mask=batch.real.long(), token_type_ids=batch.segments).logits
    difference = (ours - other).abs().max().item()
    if difference > 1e-4:
        raise UserError(f"{folder}: transformers computes logits that differ by {difference}; please report this")
    return difference


@dataclass(frozen=True)
class Sentence:
    """Words of a held-out sentence, and which of them was exchanged for what."""

    words: list[str]
    place: int
    new: str


@dataclass(frozen=True)
class Look:
    """What the discriminator made of a sentence: `worst` is the place of the word it finds most suspicious."""

    sentence: Sentence
    worst: int

    @property
    def noticed(self) -> bool:
        """Whether that is the exchanged word."""
        return self.worst == self.sentence.place

    def lines(self) -> str:
        """The sentence as the discriminator read it, the most suspicious word in brackets; then the truth."""
        words, place = list(self.sentence.words), self.sentence.place
        old, words[place] = words[place], self.sentence.new
        words[self.worst] = f"[{words[self.worst]}]"
        verdict = "noticed" if self.noticed else "missed"
        return f'{" ".join(words)}\n      ("{old}" became "{self.sentence.new}": {verdict})'


def look(folder: Path, found: list[Sentence]) -> list[Look]:
    """Sentences read by the exported discriminator through transformers; a word counts as its worst token."""
    from transformers import AutoModelForPreTraining, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with quiet():
        model = AutoModelForPreTraining.from_pretrained(folder).eval()
    looks = []
    for sentence in found:
        words = [*sentence.words[: sentence.place], sentence.new, *sentence.words[sentence.place + 1 :]]
        coded = tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**coded).logits[0].tolist()
        scores = [-math.inf] * len(words)
        for logit, owner in zip(logits, coded.word_ids(), strict=True):
            if owner is not None:
                scores[owner] = max(scores[owner], logit)
        looks.append(Look(sentence, scores.index(max(scores))))
    return looks


def tell(looks: list[Look]) -> str:
    """Three sentences, the first two in which it noticed and the first in which it did not; and how often it does."""
    right, wrong = [seen for seen in looks if seen.noticed], [seen for seen in looks if not seen.noticed]
    shown = "\n".join(f"  {seen.lines()}" for seen in (right[:2] + wrong + right[2:])[:3])
    chance = sum(1 / len(seen.sentence.words) for seen in looks) / len(looks)
    share = len(right) / len(looks)
    told = f"noticed in {share:.0%} of {len(looks)} such sentences; a blind guess would be right in {chance:.0%}"
    return f"{shown}\n\n  {told}"


def sentences(
    shards: Shards, tokenizer: "PreTrainedTokenizerBase", frequencies: np.ndarray, count: int = 100
) -> list[Sentence]:
    """The first plain sentence of each of evenly spaced held-out places, one word exchanged for another.

    The new word is any of the held-out text, each as likely, that is one token and stands 20 times in the training
    text.
    """
    random = np.random.default_rng(0)
    window = min(300, shards.tokens)
    starts = np.linspace(0, shards.tokens - window, 3 * count).astype(np.int64)
    rows = shards.gather(starts, window).astype(np.int64)
    texts = [str(tokenizer.decode(row.tolist())).replace("[SEP]", ". ") for row in rows]
    common = {token for token, i in tokenizer.get_vocab().items() if frequencies[i] >= 20}
    known = sorted({word for text in texts for word in text.split() if _plain(word) and word in common})
    if not known:
        return []
    found: list[Sentence] = []
    for text in texts:
        for piece in text.split(". ")[1:-1]:
            words = piece.split()
            places = [i for i, word in enumerate(words) if _plain(word)]
            if 9 <= len(words) <= 16 and len(places) >= 5 and all(w.isalpha() or w == "," for w in words):
                place = int(random.choice(places[1:]))
                new = known[random.integers(len(known))]
                if new != words[place] and words not in [other.words for other in found]:
                    found.append(Sentence(words, place, new))
                    break
        if len(found) == count:
            break
    return found


def _plain(word: str) -> bool:
    return word.isalpha() and len(word) > 3
