"""The verbs, each one call; the only file that imports tyro."""

import contextlib
import io
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
class Pretrain:
    """Train a recipe; every field of the run is an option. On a folder with a run in it, go on with that run."""

    data: Path
    """Folder that `electrain prepare` made."""
    out: Path
    """Folder of the run: run.json, metrics.jsonl, checkpoints, tokenizer."""
    run: Annotated[Run, tyro.conf.arg(name="")]
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


@dataclass(frozen=True)
class Flops:
    """Parameters, operations and memory, counted the paper's way and the plain way."""

    run: Annotated[Run, tyro.conf.arg(name="")]
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

    from electrain.recipes import published

    _parse(None, args, "recipes")
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, function in published().items():
        first = (function.__doc__ or "").strip().split("\n\n")[0]
        table.add_row(name, " ".join(first.split()))
    Console(highlight=False).print(table)
    print("\nelectrain pretrain NAME --data DIR --out RUN       electrain pretrain NAME --help lists every field")


def _pretrain(args: Sequence[str]) -> None:
    from electrain.train import pretrain

    run, rest = _recipe(args, "pretrain")
    chosen = _parse(Pretrain, rest, f"pretrain {args[0]}", Pretrain(tyro.MISSING, tyro.MISSING, run))
    command = f"electrain pretrain {shlex.join(args)}"
    fill = None
    if chosen.start_from or chosen.start_generator:
        from electrain.hub.load import load_into

        tokenizer = chosen.data / "tokenizer"
        where = (chosen.start_from or None, chosen.start_generator or None)
        fill = partial(load_into, encoder=where[0], generator=where[1], tokenizer=tokenizer)
    path = pretrain(chosen.run, chosen.data, chosen.out, command, fill)
    print(f"trained: {path}")
    print(f"next:    electrain export {chosen.out} --out {chosen.out}/export")


def _export(args: Sequence[str]) -> None:
    from electrain.hub.export import export, push

    chosen = _parse(Export, args, "export")
    part = None if chosen.part == "auto" else chosen.part
    which = chosen.checkpoint
    if which not in ("best", "latest"):
        if not which.isdigit():
            raise UserError(f"--checkpoint {which}: choose best, latest, or the number of a step")
        which = int(which)
    made = export(chosen.run, chosen.out, part=part, checkpoint=which)
    print(f"exported: {made}")
    if chosen.push_to_hub:
        print(f"on the Hub: {push(made, chosen.push_to_hub)}")
    print(f'next:     python -c "from transformers import AutoModel; AutoModel.from_pretrained({str(made)!r})"')


def _flops(args: Sequence[str]) -> None:
    from rich.console import Console

    from electrain.flops import describe

    run, rest = _recipe(args, "flops")
    chosen = _parse(Flops, rest, f"flops {args[0]}", Flops(run))
    Console(highlight=False).print(describe(chosen.run, chosen.vocab_size))


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


def _parse(kind: Any, args: Sequence[str], verb: str, default: Any = None) -> Any:
    """The options of a verb. UserError, in one line, for what cannot be understood."""
    said = io.StringIO()
    config = (tyro.conf.FlagConversionOff,)
    try:
        with contextlib.redirect_stderr(said):
            if kind is None:
                return tyro.cli(lambda: None, args=args, prog=f"electrain {verb}", description=VERBS[verb])
            if default is None:
                return tyro.cli(kind, args=args, prog=f"electrain {verb}", config=config)
            return tyro.cli(kind, args=args, prog=f"electrain {verb}", config=config, default=default)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_one_line(said.getvalue(), verb)) from None


def _one_line(box: str, verb: str) -> str:
    """What tyro says in a box, in one line: up to the rule that its hints on usage follow."""
    words: list[str] = []
    for line in box.splitlines():
        text = line.strip("│╭╮╰╯ \n")
        if text.startswith("──") and words:
            break
        if text and not line.startswith("╭"):
            words.append(text)
    return f"{' '.join(words)}; `electrain {verb} --help` lists the options"


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
    except UserError as error:
        print(f"electrain: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Stopped as stop:
        raise SystemExit(128 + stop.number) from None
