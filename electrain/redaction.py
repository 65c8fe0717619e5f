"""Secrets left out of what is kept of a command: in run.json, in results, on model cards."""

import os
import re
import shlex
from collections.abc import Sequence

STARS = "***"
# Variables that hold what nobody else may read, and names of options that would.
_VARIABLE = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_OPTION = re.compile(r"^--?[\w.-]*(token|api[-_]?key|secret|password|passwd|credentials?)$", re.IGNORECASE)
_WORTH = 8  # characters: a shorter value of a variable would be found by chance
_FORMS = (
    re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=:/)[^/\s@]+(?=@)"),  # user:password@ of an address; as a path it has one /
    re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{16,}"),  # Hugging Face
    re.compile(r"\bwandb_v1_[\w-]{16,}"),  # Weights & Biases, new and old
    re.compile(r"(?<![0-9a-f/])[0-9a-f]{40}(?![0-9a-f/])"),  # in a path it is a commit's
    re.compile(r"(?<=TOKEN=)[^\s'\";]+|(?<=_KEY=)[^\s'\";]+|(?<=(?:SECRET|SSWORD)=)[^\s'\";]+"),  # VARIABLE=value
    re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16})"),
    re.compile(r"(?<=[?&])(token|access_token|api_?key|key|sig|signature|password)=[^&\s#]+", re.IGNORECASE),
)


def command(verb: str, words: Sequence[str]) -> str:
    """`electrain VERB WORDS`, as a shell takes it, without secrets."""
    kept, hide = [], False
    for word in words:
        name, equals, value = word.partition("=")
        if hide and not word.startswith("--"):
            kept.append(STARS)
        elif _OPTION.match(name) and equals:
            kept.append(f"{name}={STARS}" if value else word)
        else:
            kept.append(text(word))
        hide = bool(_OPTION.match(word))
    return f"electrain {verb} {shlex.join(kept)}".rstrip()


def text(said: str) -> str:
    """A text without what has the form of a secret, and without the values of this process's secret variables."""
    held = [value for name, value in os.environ.items() if _VARIABLE.search(name) and len(value) >= _WORTH]
    for value in sorted(held, key=len, reverse=True):
        said = said.replace(value, STARS)
    for form in _FORMS:
        said = form.sub(STARS, said)
    return said
