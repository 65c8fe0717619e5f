"""DNA with a tokenizer of its own: one token for each k bases, a small ELECTRA, and a k-mer count to compare with.

    python examples/dna.py --out runs/dna                         a made-up genome; some minutes on two cores
    python examples/dna.py --out runs/dna --genome mine.fa        yours; --k 3 for tokens of three bases

The made-up genome is a Markov chain of order 2 with pairs of motifs in it: after one of eight left motifs its partner
follows, 20 bases further on. At the end single bases of sequences that were not trained on are exchanged, and the
script says how well they are told from the original ones (AUC, 0.5 is chance): by the discriminator in one pass; by the
generator, which masks every base in its turn and sees how likely it finds what stands there; and by the rarity of the
word of 3, 5 or 7 bases around it. The generator matters here: over four letters it soon proposes bases that are as
likely as the original, so that the discriminator has less to learn from than in a language.

After the 500 steps of the defaults (one run): generator 0.66, discriminator 0.67, words of 3 bases 0.63, of 7 bases
0.75. It has learnt the chain and not the motifs: --steps 500 shows that it works, not what it can do.
"""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

from electrain.data.prepare import prepare
from electrain.data.settings import Prepare
from electrain.errors import Stopped, UserError, reason
from electrain.files import write
from electrain.hub import export
from electrain.recipes.tiny import electra_tiny
from electrain.train import pretrain

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GAP, MOTIF, PAIRS = 20, 10, 8


def tokenizer(k: int) -> Tokenizer:
    """A token for each of the 4^k words of k bases. What is left at the end, or holds another letter, is unknown."""
    words = (*SPECIAL, *("".join(word) for word in product("acgt", repeat=k)))
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = Lowercase()
    made.pre_tokenizer = Split(Regex(f"[acgt]{{{k}}}"), "isolated")  # words that do not overlap: neighbours would tell
    ends = [(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return made


def genome(pieces: int, seed: int) -> tuple[list[str], list[np.ndarray]]:
    """Sequences of 1,000 bases, and for each base whether it lies in a right motif."""
    law = np.random.default_rng(0)  # the motifs and the chain are the same for training and for judging
    chain = law.dirichlet(np.full(4, 1.0), size=(4, 4)).cumsum(-1)
    left, right = law.integers(4, size=(2, PAIRS, MOTIF))
    random = np.random.default_rng(seed)
    letters = np.array(list("acgt"))
    sequences, marks = [], []
    for _ in range(pieces):
        bases, draws = random.integers(4, size=1_000), random.random(1_000)
        for i in range(2, len(bases)):
            bases[i] = np.searchsorted(chain[bases[i - 2], bases[i - 1]], draws[i]).clip(max=3)
        mark = np.zeros(len(bases), dtype=bool)
        start = int(random.integers(10, 60))
        while start + 2 * MOTIF + GAP < len(bases):
            pair, second = int(random.integers(PAIRS)), start + MOTIF + GAP
            bases[start : start + MOTIF], bases[second : second + MOTIF] = left[pair], right[pair]
            mark[second : second + MOTIF] = True
            start = second + MOTIF + int(random.integers(10, 60))
        sequences.append("".join(letters[bases]))
        marks.append(mark)
    return sequences, marks


def exchanged(sequences: list[str], share: float = 0.05) -> tuple[list[str], list[np.ndarray]]:
    """The sequences with a share of their bases exchanged for another, and which ones they are."""
    random = np.random.default_rng(1)
    changed, where = [], []
    for sequence in sequences:
        bases, other = np.array(list(sequence)), random.integers(1, 4, len(sequence))
        hit = (random.random(len(bases)) < share) & np.isin(bases, list("acgt"))
        bases[hit] = [
            "acgt"[("acgt".index(base) + step) % 4] for base, step in zip(bases[hit], other[hit], strict=True)
        ]
        changed.append("".join(bases))
        where.append(hit)
    return changed, where


def rarity(training: list[str], sequences: list[str], width: int) -> np.ndarray:
    """The baseline: minus the log of how often the word around each base stands in the training text."""
    counts = Counter(text[i : i + width] for text in training for i in range(len(text) - width + 1))
    half = width // 2
    padded = ["n" * half + text + "n" * half for text in sequences]
    return np.array([-np.log(counts[t[i : i + width]] + 1) for t in padded for i in range(len(t) - width + 1)])


@torch.no_grad()
def surprise(folder: Path, sequences: list[str], k: int) -> np.ndarray:
    """Minus the log-probability of each base's token where it is masked: every eighth token at once, eight times."""
    model, tokens = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for start in range(0, len(sequences), 64):
        ids = tokens(sequences[start : start + 64], return_tensors="pt").input_ids
        scores = torch.zeros(ids.shape)
        for turn in range(8):
            masked = ids.clone()
            masked[:, 1 + turn : -1 : 8] = tokens.mask_token_id
            logs = model(masked).logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
            scores[:, 1 + turn : -1 : 8] = -logs[:, 1 + turn : -1 : 8]
        found.append(scores[:, 1:-1].repeat_interleave(k, dim=1).flatten().numpy())
    return np.concatenate(found)


@torch.no_grad()
def suspicion(folder: Path, sequences: list[str], k: int) -> np.ndarray:
    """The discriminator's logit of "replaced" of each base's token."""
    model, tokens = AutoModelForPreTraining.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for start in range(0, len(sequences), 64):
        logits = model(**tokens(sequences[start : start + 64], return_tensors="pt")).logits[:, 1:-1]
        found.append(logits.repeat_interleave(k, dim=1).flatten().numpy())
    return np.concatenate(found)


def read(path: Path) -> list[str]:
    """The sequences of a FASTA file in pieces of 1,000 bases, those with other letters than a, c, g and t left out."""
    try:
        text = "".join("" if line.startswith(">") else line.strip().lower() for line in path.open())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--genome {path}: cannot be read as text ({reason(error)}); give a FASTA file") from error
    pieces = (text[i : i + 1_000] for i in range(0, len(text) - 999, 1_000))
    kept = [piece for piece in pieces if set(piece) <= set("acgt")]
    if len(kept) < 3:  # one to train on, one for its evaluations, one for the table
        raise UserError(f"--genome {path}: {len(kept)} pieces of 1,000 bases (a, c, g, t); give a longer genome")
    return kept


def keep(path: Path, text: str) -> None:
    """Writes a file once: a newer one would be another corpus, which `prepare` refuses. UserError for another text."""
    if not path.exists():
        write(path, text.encode())
    elif path.read_text() != text:
        raise UserError(f"{path}: made with other options; give the same ones to go on, or choose another --out")


def main() -> None:
    """From a genome to the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--genome", type=Path, help="a FASTA file; without it one is made up")
    parser.add_argument("--pieces", type=int, default=1_500, help="pieces of 1,000 bases to make up")
    parser.add_argument("--k", type=int, default=1, help="bases of a token")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compile", type=int, default=1, help="0: start at once, and run slower")
    chosen = parser.parse_args()
    out, k = chosen.out, chosen.k
    out.mkdir(parents=True, exist_ok=True)

    pieces, marks = genome(chosen.pieces, seed=1) if chosen.genome is None else (read(chosen.genome), [])
    held_out = max(1, len(pieces) // 50)
    keep(out / "genome.txt", "\n\n".join(pieces[held_out:]) + "\n")
    keep(out / "tokenizer.json", tokenizer(k).to_str(pretty=True))
    prepare(
        Prepare(
            corpus=(str(out / "genome.txt"),), documents="blank-lines", tokenizer=str(out / "tokenizer.json"),
            validation=0.02, out=out / "data",
        )
    )  # fmt: skip

    run = electra_tiny()
    run = replace(run, length=128, steps=chosen.steps, batch=chosen.batch, log_every=50, eval_every=200)
    run = replace(run, compute=replace(run.compute, compile=bool(chosen.compile)))
    pretrain(run, out / "data", out / "run")
    for part in ("discriminator", "generator"):
        export(out / "run", out / part, part=part)

    room = (run.length - 2) * k
    cut = [piece[i : i + room] for piece in pieces[:held_out] for i in range(0, len(piece) - room + 1, room)]
    texts, labels = exchanged(cut)
    label = np.concatenate(labels)
    scores = {f"words of {width} bases": rarity(pieces[held_out:], texts, width) for width in (3, 5, 7)}
    scores["the generator"] = surprise(out / "generator", texts, k)
    scores["the discriminator"] = suspicion(out / "discriminator", texts, k)
    places = {"all bases": np.ones(len(label), dtype=bool)}
    if marks:
        ends = [mark[i : i + room] for mark in marks[:held_out] for i in range(0, len(mark) - room + 1, room)]
        places["bases of a partner"] = np.concatenate(ends)
    print(f"\n{label.sum()} of {len(label)} held-out bases were exchanged. AUC of telling which:\n")
    print(f"  {'':24}" + "".join(f"{name:>22}" for name in places))
    for name, score in scores.items():
        print(f"  {name:24}" + "".join(f"{roc_auc_score(label[at], score[at]):22.3f}" for at in places.values()))
    longer = f"python examples/dna.py --out {out}-longer --steps {4 * chosen.steps}"
    print(f"\nnext: {longer}     (twice as many steps need not be enough: look at the curves)")
    print(f"      electrain finetune classify --model {out / 'run'} --data promoters.csv --out {out / 'judged'}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except Stopped as stopped:  # everything is saved, and how to go on has been said
        sys.exit(128 + stopped.number)
