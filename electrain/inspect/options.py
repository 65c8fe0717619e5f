"""What a person can choose about `electrain inspect`; the docstring under a field is its help."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Inspect:
    """A page on this machine: type a text, see which tokens look replaced, corrupt it and see what is noticed."""

    model: tuple[str, ...]
    """Folder of a run; or a folder or Hub name that transformers loads as an ELECTRA, BERT or ModernBERT. Given twice,
    the two stand side by side."""
    checkpoint: tuple[str, ...] = ()
    """Of a run: latest (the default), best (lowest held-out loss), or a step. Given twice with one model, the two
    stand side by side."""
    generator: str = ""
    """Where the masked language model that corrupts is, for a model that has none: a run, a folder, a Hub name."""
    port: int = 7860
    """Port of the page; the next free one is taken where it is busy."""
