"""What can be run: one file a paper, one function a published run. A recipe is a function that returns a `Run`."""

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from electrain.arguments import meant
from electrain.errors import UserError
from electrain.optim.adam import Adam
from electrain.optim.muon import Muon
from electrain.recipes.sizes import Size
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


def summary(function: Recipe) -> str:
    """What a recipe is, in one line: the first paragraph of its docstring."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def recipe(name: str) -> Recipe:
    """A recipe by its name, or the user's own as file.py:function. UserError if there is none."""
    if ":" in name:
        return _from_file(*name.rsplit(":", 1))
    found = published()
    if name not in found:
        names, hint = ", ".join(found), meant(name, found)
        raise UserError(f"there is no recipe {name!r}; {hint}choose one of {names}, or your own as file.py:function")
    return found[name]


def sized(function: Callable[..., Run], size: Size) -> Run:
    """A recipe's run at a size. UserError if its function takes no `size`."""
    if "size" not in inspect.signature(function).parameters:
        raise UserError(f"the recipe {function.__name__} comes in one size: its function takes no size; choose another")
    return function(size=size)


def optimized(run: Run, name: str) -> Run:
    """A run, and the stages before it, with another optimizer: adam or muon. UserError if it has one of its own."""
    adam = run.optim.adam if isinstance(run.optim, Muon) else run.optim
    if not isinstance(adam, Adam):
        raise UserError(f"the recipe {run.recipe} has an optimizer of its own; leave out --optimizer")
    first = run.first and optimized(run.first, name)
    return replace(run, optim=Muon(adam) if name == "muon" else adam, first=first)


def load_file(path: Path) -> ModuleType:
    """Import a user's Python file by its own name: run.json names the classes that it defines, and looks them up there.

    UserError if it is no Python file, cannot be imported, or has the name of another module.
    """
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"{path}: no Python file; a recipe of your own is named as file.py:function")
    path, name = path.resolve(), path.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    other = "loaded already" if name in sys.modules else _origin(name)
    if other not in (None, str(path)):
        raise UserError(f"{path}: there is another Python module of the name {name!r} ({other}); rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(path.parent))  # for what the file imports from beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 0
        raise UserError(f"{path}, line {line}: {type(error).__name__}: {error}; mend the file") from error
    return module


def _origin(name: str) -> str | None:
    """Where a module of this name would come from, or None if there is none."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return None if found is None else found.origin or "a folder"


def _from_file(file: str, function: str) -> Recipe:
    own = recipes_in(load_file(Path(file)))
    if function not in own:
        found = ", ".join(own) or "none"
        raise UserError(f"{file}: has no recipe {function!r}, a function annotated to return a Run; it has {found}")
    parameters = inspect.signature(own[function]).parameters.values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if needed := [p.name for p in parameters if p.default is p.empty and p.kind not in optional]:
        raise UserError(f"{file}: the recipe {function!r} needs {', '.join(needed)}; give every argument a default")
    return own[function]
