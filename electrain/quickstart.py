"""The whole story on the built-in corpus: prepare, train, evaluate, export, reload, and look at three sentences."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from electrain import checkpoint
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
from electrain.system import System
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
    frequencies = np.load(data / "frequencies.npy", allow_pickle=False)
    swaps, samples = judge(system, loader, 512, frequencies)
    say("4/4  exporting, and loading the export with transformers")
    folders = {part: export(run_dir, out / part, part=part) for part in ("discriminator", "generator")}
    difference = reload(system, folders["discriminator"], loader)
    print(report(swaps, samples))
    if lines := look(folders["discriminator"], shards, frequencies):
        print("\nOne word of each of these held-out sentences was exchanged. The most suspicious is marked [so]:\n")
        print("\n".join(f"  {line}" for line in lines))
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
def reload(system: System, folder: Path, loader: Loader) -> float:
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


def look(folder: Path, shards: Shards, frequencies: np.ndarray) -> list[str]:
    """Three held-out sentences, read by the exported discriminator: the swap said, the most suspicious word marked."""
    from transformers import AutoModelForPreTraining, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    with quiet():
        model = AutoModelForPreTraining.from_pretrained(folder).eval()
    lines = []
    for sentence in sentences(shards, tokenizer, frequencies):
        words = [*sentence.words[: sentence.place], sentence.new, *sentence.words[sentence.place + 1 :]]
        coded = tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**coded).logits[0]
        worst = max(
            range(len(words)),
            key=lambda word: max(
                (logits[i].item() for i, owner in enumerate(coded.word_ids()) if owner == word), default=-1e9
            ),
        )
        shown = " ".join(f"[{word}]" if i == worst else word for i, word in enumerate(words))
        verdict = "noticed" if worst == sentence.place else "missed"
        lines.append(f'{shown}\n      ("{sentence.words[sentence.place]}" became "{sentence.new}": {verdict})')
    return lines


def sentences(
    shards: Shards, tokenizer: "PreTrainedTokenizerBase", frequencies: np.ndarray, count: int = 3
) -> list[Sentence]:
    """The first plain sentences of evenly spaced held-out places, a word of each exchanged for another by frequency."""
    random = np.random.default_rng(0)
    counts = {token: int(frequencies[i]) for token, i in tokenizer.get_vocab().items()}
    known = sorted((token, n) for token, n in counts.items() if n and token.isalpha() and len(token) > 3)
    if not known:
        return []
    chances = np.array([n for _, n in known], float)
    found: list[Sentence] = []
    window = min(300, shards.tokens)
    for start in np.linspace(0, shards.tokens - window, 60).astype(np.int64):
        text = str(tokenizer.decode(shards.gather(np.array([start]), window)[0].astype(np.int64).tolist()))
        for piece in text.replace("[SEP]", ". ").split(". ")[1:-1]:
            words = piece.split()
            plain = [i for i, word in enumerate(words) if word.isalpha() and len(word) > 3]
            if 9 <= len(words) <= 16 and len(plain) >= 5 and all(w.isalpha() or w == "," for w in words):
                place = int(random.choice(plain[1:]))
                new = known[random.choice(len(known), p=chances / chances.sum())][0]
                if new != words[place] and words not in [other.words for other in found]:
                    found.append(Sentence(words, place, new))
                    break
        if len(found) == count:
            break
    return found
