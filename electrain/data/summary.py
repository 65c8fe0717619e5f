"""What `prepare` says at its end."""

from collections.abc import Mapping
from pathlib import Path

from electrain.columns import aligned
from electrain.data.manifest import Manifest

MANY = 0.01
"""Share of unknown tokens above which `prepare` warns: in scripts that a vocabulary covers it is below a thousandth."""


def describe(manifest: Manifest, out: Path) -> str:
    """A prepared folder, for a person: what is in it, what was dropped and why, where it lies, what to do next."""
    said = manifest.summary
    held_out = f"{said['validation_documents']:,} held out for validation"
    if not manifest.validation:
        held_out = "none held out for validation"
    repeated = ""
    if said["epoch_tokens"] != said["train_tokens"]:
        repeated = f"; one epoch with the repetitions: {said['epoch_tokens']:,}"
    dropped = said["dropped"]
    assert isinstance(dropped, Mapping)
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in dropped.items()) or "nothing"
    if said["cut"]:
        reasons += f"; {said['cut']:,} long documents were cut into several"
    unknown = said["unknown_share"]
    assert isinstance(unknown, float)
    rows = [
        ("documents", f"{said['documents']:,} ({held_out})"),
        ("tokens", f"{said['tokens']:,} ({said['train_tokens']:,} to train on{repeated})"),
        ("text", f"{said['words']:,} words, {_size(said['bytes'])}"),
        ("tokens a word", f"{said['tokens_a_word']:.2f}"),
        ("unknown tokens", f"{unknown:.4%}"),
        ("longest", f"{said['longest']:,} tokens"),
        ("dropped", reasons),
        ("tokenizer", f"{manifest.vocab.size:,} tokens ({said['tokenizer']})"),
        ("where", f"{out}"),
    ]
    if unknown > MANY:
        rows.append(("warning", f"{unknown:.1%} of the tokens are [UNK], of which nothing is learnt"))
        rows.append(("next", "prepare again with --vocab-kind bytes: this vocabulary lacks characters of the text"))
    else:
        rows.append(("next", f"electrain pretrain electra_tiny --data {out} --out runs/first"))
    return aligned(rows)


def _size(number: object) -> str:
    assert isinstance(number, int)
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.2f} MB"
