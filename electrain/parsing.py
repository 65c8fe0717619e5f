"""A verb's words as its options, by tyro."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import tyro

from electrain.arguments import VERBS, one_line
from electrain.errors import UserError

# Booleans take a value; a field that may be None is no verb of its own, but options where the recipe fills it.
_STYLE = (tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands)
_REPEATED = {"inspect": (tyro.conf.UseAppendAction,)}  # verbs whose options that take several are given several times


def parse(kind: Any, args: Sequence[str], verb: str) -> Any:
    """The options of a verb. UserError, in one line, for what cannot be understood."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if kind is None:
                return tyro.cli(lambda: None, args=args, prog=f"electrain {verb}", description=VERBS[verb])
            return tyro.cli(kind, args=args, prog=f"electrain {verb}", config=_STYLE + _REPEATED.get(verb, ()))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(one_line(said.getvalue(), verb)) from None
