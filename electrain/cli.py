"""The verbs, each one call; the only file that imports tyro."""

import contextlib
import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from electrain.errors import Stopped, UserError
from electrain.run import Run

VERBS: dict[str, str] = {
    "quickstart": "the whole story on the built-in corpus: prepare, train, evaluate, export, look",
    "prepare": "turn text into a tokenizer, token files and a manifest",
    "recipes": "what can be run, a line each",
    "pretrain": "train a recipe, or go on with a run",
    "export": "a folder that transformers loads",
    "flops": "parameters, operations and memory of a recipe",
}


@dataclass(frozen=True)
class Quickstart:
    """Prepare the built-in corpus, train electra_tiny on it, evaluate, export, reload, and show what it noticed."""

    out: Path = Path("runs/quickstart")
    """Folder for the data, the run and the exported models."""


@dataclass(frozen=True)
class Options(Run):
    """The fields of a run as options; its recipe is named before them."""

    recipe: Annotated[str, tyro.conf.Suppress] = ""


@dataclass(frozen=True)
class Pretrain:
    """Train a recipe; every field of the run is an option. On a folder with a run in it, go on with that run."""

    data: Path
    """Folder that `electrain prepare` made."""
    out: Path
    """Folder of the run: run.json, metrics.jsonl, checkpoints, tokenizer."""
    start_from: str = ""
    """Start a new run from a transformers ELECTRA or BERT: a folder or a Hub name of the discriminator (or BERT)."""
    start_generator: str = ""
    """The generator to start from; without it the generator's own layers start fresh."""


@dataclass(frozen=True)
class Export:
    """Write a folder that transformers loads, with its tokenizer and a model card."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    out: Path
    """Folder to make."""
    part: Literal["auto", "discriminator", "generator", "bert"] = "auto"
    """Which network; auto takes the one that the run is for."""
    checkpoint: str = "latest"
    """latest, best (lowest held-out loss), or a step."""
    push_to_hub: str = ""
    """Also upload to this name on the Hugging Face Hub, as the user who is logged in."""
    code: Path | None = None
    """The Python file of your own recipe, where the run was made from one."""


@dataclass(frozen=True)
class Flops:
    """Parameters, operations and memory, counted the paper's way and the plain way."""

    vocab_size: int = 30522
    """Rows of the token table."""


def _quickstart(args: Sequence[str]) -> None:
    from electrain.quickstart import quickstart

    quickstart(_parse(Quickstart, args, "quickstart").out)


def _prepare(args: Sequence[str]) -> None:
    from electrain.data.prepare import prepare
    from electrain.data.settings import Prepare

    prepare(_parse(Prepare, args, "prepare"))


def _recipes(args: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from electrain.flops import count
    from electrain.recipes import published, summary

    _parse(None, args, "recipes")
    rows = [
        (name, f"{count(function()).parameters.model / 1e6:.1f}M", summary(function))
        for name, function in published().items()
    ]
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table("recipe", "parameters", "what it is", box=None, padding=(0, 2, 0, 0))
        table.columns[1].justify = "right"
        for name, size, what in rows:
            table.add_row(name, size, what)
        console.print(table, markup=False)
    else:  # a line each, whatever reads them
        width = max(len(name) for name, _, _ in rows)
        for name, size, what in rows:
            print(f"{name:<{width}}  {size:>7}  {what}")
    print("\nParameters are the model's, a joint generator's left out, with a vocabulary of 30522.")
    print("next:  electrain pretrain NAME --data DIR --out RUN       electrain pretrain NAME --help lists every field")


def _pretrain(args: Sequence[str]) -> None:
    from electrain.train import pretrain

    run, rest = _recipe(args, "pretrain")
    chosen = _parse(_with(run, Pretrain), rest, f"pretrain {args[0]}")
    command = f"electrain pretrain {shlex.join(args)}"
    fill = None
    if chosen.start_from or chosen.start_generator:
        from electrain.hub.load import load_into

        tokenizer = chosen.data / "tokenizer"
        where = (chosen.start_from or None, chosen.start_generator or None)
        fill = partial(load_into, encoder=where[0], generator=where[1], tokenizer=tokenizer)
    path = pretrain(Run(**vars(chosen.run)), chosen.data, chosen.out, command, fill)
    print(f"trained: {path}")
    print(f"next:    {shlex.join(['electrain', 'export', str(chosen.out), '--out', str(chosen.out / 'export')])}")


def _export(args: Sequence[str]) -> None:
    from electrain.hub.export import export, push
    from electrain.recipes import load_file

    chosen = _parse(Export, args, "export")
    if chosen.code is not None:
        load_file(chosen.code)
    part = None if chosen.part == "auto" else chosen.part
    which = chosen.checkpoint
    if which not in ("best", "latest"):
        if not which.isdigit():
            raise UserError(f"--checkpoint {which}: choose best, latest, or the number of a step")
        which = int(which)
    made = export(chosen.run, chosen.out, part=part, checkpoint=which, name=chosen.push_to_hub)
    print(f"exported: {made}")
    if chosen.push_to_hub:
        print(f"on the Hub: {push(made, chosen.push_to_hub)}")
    load = f"from transformers import AutoModel; AutoModel.from_pretrained({json.dumps(str(made))})"
    print(f"next:     {shlex.join(['python', '-c', load])}")


def _flops(args: Sequence[str]) -> None:
    from rich.console import Console

    from electrain.flops import describe

    run, rest = _recipe(args, "flops")
    chosen = _parse(_with(run, Flops), rest, f"flops {args[0]}")
    if chosen.vocab_size < 1:
        raise UserError(f"--vocab-size {chosen.vocab_size}: choose 1 or more")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(describe(Run(**vars(chosen.run)), chosen.vocab_size))


def _recipe(args: Sequence[str], verb: str) -> tuple[Run, Sequence[str]]:
    """The recipe named first, and the arguments after it."""
    from electrain.recipes import recipe

    if args and args[0] in ("-h", "--help"):
        print(f"usage: electrain {verb} RECIPE [options]\n\n`electrain recipes` lists the recipes;")
        print(f"`electrain {verb} RECIPE --help` lists the options of one.")
        raise SystemExit(0)
    if not args or args[0].startswith("-"):
        raise UserError(f"electrain {verb}: name a recipe first; `electrain recipes` lists them")
    return recipe(args[0])(), args[1:]


def _with(run: Run, kind: type) -> type:
    """A verb's options, and beside them the fields of a recipe's run, whose values are the defaults."""
    fields = Annotated[Options, tyro.conf.arg(name="", default=Options(**vars(run)))]
    return make_dataclass(
        kind.__name__, [("run", fields)], bases=(kind,), namespace={"__doc__": kind.__doc__}, frozen=True, kw_only=True
    )


def _parse(kind: Any, args: Sequence[str], verb: str) -> Any:
    """The options of a verb. UserError, in one line, for what cannot be understood."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if kind is None:
                return tyro.cli(lambda: None, args=args, prog=f"electrain {verb}", description=VERBS[verb])
            return tyro.cli(kind, args=args, prog=f"electrain {verb}", config=(tyro.conf.FlagConversionOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_one_line(said.getvalue(), verb)) from None


def _one_line(box: str, verb: str) -> str:
    """What tyro says in a box, in one line: between its title and the rule that hints on usage follow.

    The box is drawn in ASCII, without sides, where the terminal's encoding is no UTF-8.
    """
    rows = [line.strip("│╭╮╰╯─ ") for line in box.splitlines()]
    rows = ["" if set(row) == {"-"} else row for row in rows]
    start = next((number for number, row in enumerate(rows[1:], start=1) if row), 0)
    words = rows[start : rows.index("", start) if "" in rows[start:] else None]
    if words and words[0].startswith("Missing from"):  # with the help of every option that is missing
        words = ["missing:", ", ".join(text.split()[0] for text in words if text.startswith(("--", "PATH")))]
    return f"{' '.join(words).rstrip('.')}; `electrain {verb} --help` lists the options"


_CALLS: dict[str, Callable[[Sequence[str]], None]] = {
    "quickstart": _quickstart,
    "prepare": _prepare,
    "recipes": _recipes,
    "pretrain": _pretrain,
    "export": _export,
    "flops": _flops,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: `electrain VERB ...`. Exit code 2 for bad input, 128 + the signal's number when stopped."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        width = max(map(len, VERBS))
        print("usage: electrain VERB [options]\n\n" + "\n".join(f"  {v:{width}}  {what}" for v, what in VERBS.items()))
        print("\n`electrain VERB --help` lists the options of a verb.")
        raise SystemExit(0 if args else 2)
    if args[0] == "--version":
        from electrain import __version__

        print(__version__)
        return
    try:
        if args[0] not in _CALLS:
            raise UserError(f"there is no verb {args[0]!r}; choose one of {', '.join(_CALLS)}")
        _CALLS[args[0]](args[1:])
        sys.stdout.flush()
    except UserError as error:
        print(f"electrain: {' '.join(str(error).splitlines())}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # what reads our output has read enough (| head); Python must not write there again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Stopped as stop:
        raise SystemExit(128 + stop.number) from None
