"""A recipe's fields as options, for the verbs that name a recipe first. It loads PyTorch, as recipes do."""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import tyro

from electrain.arguments import named
from electrain.parsing import parse
from electrain.recipes import optimized, recipe, sized
from electrain.recipes.sizes import SIZES
from electrain.run import Run


@dataclass(frozen=True)
class Options(Run):
    """The fields of a run as options; its recipe is named before them."""

    recipe: Annotated[str, tyro.conf.Suppress] = ""
    first: "Options | None" = None
    """The stage before, with options of its own (--first.steps)."""

    @staticmethod
    def of(run: Run) -> "Options":
        """A run's fields, those of the stages before it among them."""
        return Options(**{**vars(run), "first": run.first and Options.of(run.first)})

    @property
    def plain(self) -> Run:
        """The run that was chosen."""
        return Run(**{**vars(self), "first": self.first and self.first.plain})


def choose(kind: type, args: Sequence[str], verb: str) -> Any:
    """A verb's options, and in `run` the fields of the recipe that is named first, whose values are the defaults."""
    run, rest = _recipe(args, verb)
    fields = Annotated[Options, tyro.conf.arg(name="", default=Options.of(run))]
    both = make_dataclass(
        kind.__name__, [("run", fields)], bases=(kind,), namespace={"__doc__": kind.__doc__}, frozen=True, kw_only=True
    )
    return parse(both, rest, f"{verb} {args[0]}")


def _recipe(args: Sequence[str], verb: str) -> tuple[Run, Sequence[str]]:
    """The recipe named first, of the size and the optimizer that are named anywhere, and the arguments after it."""
    name, rest = named(args, verb, "RECIPE", "`electrain recipes` lists them")
    function = recipe(name)
    # Looked up beforehand, for it decides the defaults of all other options; a name that is wrong is told by tyro.
    words = [word for option in rest for word in option.split("=", 1)]
    size, optimizer = (words[words.index(name) + 1] if name in words[:-1] else "" for name in ("--size", "--optimizer"))
    run = sized(function, SIZES[size]) if size in SIZES else function()
    return (optimized(run, optimizer) if optimizer in ("adam", "muon") else run), rest
