"""A verb's words as its options, by tyro."""

import contextlib
import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import tyro

from electrain.arguments import VERBS, meant_option, one_line
from electrain.errors import UserError

# Booleans take a value; a field that may be None is no verb of its own, but options where the recipe fills it.
_STYLE = (tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands)
_REPEATED = {"inspect": (tyro.conf.UseAppendAction,)}  # verbs whose options that take several are given several times


def parse(kind: Any, args: Sequence[str], verb: str) -> Any:
    """The options of a verb. UserError, in one line, for what cannot be understood."""
    read = partial(tyro.cli, kind, prog=f"electrain {verb}", config=_STYLE + _REPEATED.get(verb, ()))
    if kind is None:
        read = partial(tyro.cli, lambda: None, prog=f"electrain {verb}", description=VERBS[verb])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return read(args=args)
    except SystemExit as stop:
        if not stop.code:
            raise
    hint = ""
    if "Unrecognized options" in said.getvalue():
        known = _options(read)
        given = (word.partition("=")[0] for word in args if word.startswith("--"))
        hint = next((meant_option(name, known) for name in given if name.replace("_", "-") not in known), "")
    raise UserError(one_line(said.getvalue(), verb, hint))


def _options(read: Any) -> list[str]:
    """The names of all options, from the help."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        read(args=["--help"])
    return re.findall(r"^ *(?:-\w, )?(--[a-z][\w.-]*)", shown.getvalue(), re.MULTILINE)
