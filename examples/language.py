"""A small encoder of any language, from text to a folder that transformers loads.

    python examples/language.py --language de --text 'my/german/*.txt' --out runs/german
    python examples/language.py --language de --out runs/german-try         without text of yours, to try it

Without --text it reads the translated messages of the programs on this machine (the .mo catalogues of Linux systems:
one to two MB in German, French or Spanish), which are real sentences, about computers. That is enough to see it work
and no more: bring your own text for a model.
"""

import argparse
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForPreTraining, AutoTokenizer

from electrain.data.prepare import prepare
from electrain.data.settings import Prepare
from electrain.data.shards import Shards
from electrain.errors import Stopped, UserError
from electrain.files import write
from electrain.hub import export
from electrain.recipes import recipe
from electrain.train import pretrain

CASELESS = {"zh", "ja", "th", "lo", "km", "my"}  # no blanks between words: bytes
SHORTEST = 60  # characters of a message that reads like a sentence


def messages(language: str, folder: Path = Path("/usr/share")) -> Iterator[str]:
    """The translated texts of all message catalogues of a language, each once."""
    seen = set()
    for path in sorted(folder.rglob(f"{language}/LC_MESSAGES/*.mo")):
        for message in catalogue(path.read_bytes()):
            text = " ".join(message.replace("_", "").replace("&", "").split())
            if len(text) >= SHORTEST and "%" not in text and text not in seen:
                seen.add(text)
                yield text


def catalogue(data: bytes) -> Iterator[str]:
    """The translations in a .mo file: a head with the number of texts, and where their lengths and places stand."""
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    count, _, table = struct.unpack_from(f"{order}3I", data, 8)
    for number in range(count):
        length, start = struct.unpack_from(f"{order}2I", data, table + 8 * number)
        yield data[start : start + length].split(b"\0")[0].decode("utf-8", "replace")


def main() -> None:
    """Text, tokenizer, training, export, a look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="de", help="two letters: de, fr, es, ...")
    parser.add_argument("--text", nargs="*", default=[], help="files, folders or globs, documents apart by blank lines")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--recipe", default="electra_tiny", help="electra_small_hour for an hour; `electrain recipes`")
    parser.add_argument("--vocab-size", type=int, default=4096, help="30522 for a corpus of gigabytes")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compile", type=int, default=1, help="0: start at once, and run slower")
    chosen = parser.parse_args()
    out = chosen.out
    out.mkdir(parents=True, exist_ok=True)

    sources = tuple(chosen.text)
    if not sources:
        texts = out / f"messages-{chosen.language}.txt"
        sources = (str(texts),)
        if not texts.exists():  # written anew it would be another corpus, which `prepare` refuses
            found = list(messages(chosen.language))
            if not found:
                sys.exit(f"no messages in {chosen.language!r} on this machine; name files of yours with --text")
            write(texts, ("\n\n".join(found) + "\n").encode())
            print(f"{len(found):,} messages of programs on this machine, {sum(map(len, found)):,} characters")
    kind = "bytes" if chosen.language in CASELESS else "wordpiece-cased"
    prepare(
        Prepare(
            corpus=sources, documents="blank-lines", vocab_kind=kind, vocab_size=chosen.vocab_size,
            validation=0.02, out=out / "data",
        )
    )  # fmt: skip

    run = replace(recipe(chosen.recipe)(), steps=chosen.steps, batch=chosen.batch, log_every=50, eval_every=250)
    run = replace(run, compute=replace(run.compute, compile=bool(chosen.compile)))
    pretrain(run, out / "data", out / "run", f"electrain pretrain {chosen.recipe} --data {out}/data --out {out}/run")
    folder = export(out / "run", out / "model")

    words, place, old = damaged(out / "data", folder)
    doubts = suspicion(words, folder)
    print(f"\nA held-out text with one word exchanged ({old!r} became {words[place]!r}), and how likely the model")
    print("finds it that each word was replaced:\n")
    print("  " + " ".join(f"{word}[{doubt:.0%}]" for word, doubt in zip(words, doubts, strict=True)))
    print(f"\nnext: electrain finetune classify --model {out / 'run'} --data reviews.csv --out {out / 'judged'}")
    print(f"      electrain export {out / 'run'} --out {out / 'model'} --push-to-hub me/my-model")


def damaged(data: Path, folder: Path) -> tuple[list[str], int, str]:
    """Words of the first long held-out document, one of them exchanged for another; its place, and what stood there."""
    shards = Shards.open(data, "validation")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = shards.gather(np.array([0]), min(2_000, shards.tokens))[0].tolist()
    texts = tokenizer.decode(ids).split(tokenizer.sep_token)
    words = next((text.split() for text in texts if len(text.split()) >= 8), texts[0].split())[:16]
    place = len(words) // 2
    old, words[place] = words[place], words[1]
    return words, place, old


@torch.no_grad()
def suspicion(words: list[str], folder: Path) -> list[float]:
    """Probability of "replaced" of each word: that of its most suspicious token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    coded = tokenizer(words, is_split_into_words=True, return_tensors="pt", truncation=True)
    doubts = AutoModelForPreTraining.from_pretrained(folder).eval()(**coded).logits[0].sigmoid().tolist()
    found = [0.0] * len(words)
    for owner, doubt in zip(coded.word_ids(), doubts, strict=True):
        if owner is not None:
            found[owner] = max(found[owner], doubt)
    return found


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
    except Stopped as stopped:  # everything is saved, and how to go on has been said
        sys.exit(128 + stopped.number)
