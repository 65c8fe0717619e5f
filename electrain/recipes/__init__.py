"""What can be run: one file a paper, one function a published run. A recipe is a function that returns a `Run`."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

from electrain.errors import UserError
from electrain.run import Run

Recipe = Callable[[], Run]


def published() -> dict[str, Recipe]:
    """The package's recipes by name, file by file, in the order they are written."""
    found: dict[str, Recipe] = {}
    for module_info in pkgutil.iter_modules(__path__):
        found |= recipes_in(importlib.import_module(f"{__name__}.{module_info.name}"))
    return found


def recipes_in(module: object) -> dict[str, Recipe]:
    """Functions of a module that are recipes: public, defined there, and annotated to return a Run."""
    return {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith("_")
        and function.__module__ == getattr(module, "__name__", None)
        and inspect.signature(function).return_annotation in (Run, "Run")
    }


def recipe(name: str) -> Recipe:
    """A recipe by its name, or the user's own as file.py:function. UserError if there is none."""
    if ":" in name:
        return _from_file(*name.rsplit(":", 1))
    found = published()
    if name not in found:
        raise UserError(f"there is no recipe {name!r}; choose one of {', '.join(found)}, or your own as file.py:function")
    return found[name]


def _from_file(file: str, function: str) -> Recipe:
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"{file}: no Python file; a recipe of your own is named as file.py:function")
    # Under its own name, and importable: run.json names the classes that the file defines, and a resumed run looks there.
    sys.path.insert(0, str(path.resolve().parent))
    module = importlib.import_module(path.stem)
    if function not in (own := recipes_in(module)):
        raise UserError(f"{file}: has no recipe {function!r}, a function annotated to return a Run; it has {list(own)}")
    return own[function]
