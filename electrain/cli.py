"""The verbs, each one call. Nothing that takes long to load is loaded before the verb that needs it."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from electrain import redaction
from electrain.arguments import VERBS, alone, first_as, meant, named
from electrain.errors import Elsewhere, Stopped, UserError
from electrain.escaping import message
from electrain.options import Export, Flops, Pretrain, Quickstart
from electrain.parsing import parse


def _quickstart(args: Sequence[str]) -> None:
    from electrain.quickstart import quickstart

    quickstart(parse(Quickstart, args, "quickstart").out)


def _prepare(args: Sequence[str]) -> None:
    from electrain.data.prepare import prepare
    from electrain.data.settings import Prepare
    from electrain.data.workers import main_unseen

    settings = parse(Prepare, args, "prepare")
    with main_unseen():
        prepare(settings)


def _recipes(args: Sequence[str]) -> None:
    from electrain.catalogue import catalogue

    parse(None, args, "recipes")
    catalogue()


def _pretrain(args: Sequence[str]) -> None:
    from electrain.chosen import choose
    from electrain.distributed import first
    from electrain.train import pretrain

    chosen = choose(Pretrain, args, "pretrain")
    command = redaction.command("pretrain", args)
    fill = None
    if chosen.start_from or chosen.start_generator:
        from electrain.hub.load import load_into

        tokenizer = chosen.data / "tokenizer"
        where = (chosen.start_from or None, chosen.start_generator or None)
        fill = partial(load_into, encoder=where[0], generator=where[1], tokenizer=tokenizer)
    path = pretrain(chosen.run.plain, chosen.data, chosen.out, command, fill)
    if not first():  # of several processes, the first speaks
        return
    print(f"trained: {path}")
    print(f"next:    {shlex.join(['electrain', 'export', str(chosen.out), '--out', str(chosen.out / 'export')])}")


def _finetune(args: Sequence[str]) -> None:
    from electrain.finetune.conduct import finetune
    from electrain.finetune.settings import Finetune
    from electrain.finetune.tasks import NAMES

    where = "glue for all of GLUE, or one of\n" + "\n".join(f"  {name:9} {what}" for name, what in NAMES.items())
    name, rest = named(args, "finetune", "TASK", where)
    how: Finetune = parse(Finetune, rest, f"finetune {name}")
    _print(finetune(name, how, redaction.command("finetune", args)), 160)
    print(f"results: {how.out}")


def _blimp(args: Sequence[str]) -> None:
    from electrain.zeroshot.blimp import blimp
    from electrain.zeroshot.options import Blimp

    print("\n".join(f"written: {path}" for path in blimp(parse(Blimp, args, "blimp"))))


def _score(args: Sequence[str]) -> None:
    from electrain.zeroshot.options import Score
    from electrain.zeroshot.score import score

    score(parse(Score, first_as("--file", args), "score"))


def _similarity(args: Sequence[str]) -> None:
    from electrain.zeroshot.options import Similarity
    from electrain.zeroshot.similarity import similarity

    print("\n".join(f"written: {path}" for path in similarity(parse(Similarity, args, "similarity"))))


def _inspect(args: Sequence[str]) -> None:
    from electrain.inspect.options import Inspect
    from electrain.inspect.page import inspect

    inspect(parse(Inspect, args, "inspect"))


def _study(args: Sequence[str]) -> None:
    from electrain.study.conduct import Conduct, conduct

    name, rest = named(args, "study", "STUDY", "the one study there is: ladder")
    made = conduct(name, parse(Conduct, rest, f"study {name}"), redaction.command("study", args))
    print("\n".join(f"written: {path}" for path in made))


def _report(args: Sequence[str]) -> None:
    from electrain.report.build import report
    from electrain.report.settings import Report

    how: Report = parse(Report, alone("--watch", first_as("--runs", args)), "report")
    print(f"written: {report(how)}")


def _cache(args: Sequence[str]) -> None:
    from electrain.propose import Proposing, propose

    how: Proposing = parse(Proposing, first_as("--generator", args), "cache")
    propose(how)
    print(f"cached: {how.out}")
    options = ["--data", how.data, "--system.corruptor.cache", how.out, "--length", how.length, "--out", "RUN"]
    print(f"next:   {shlex.join(['electrain', 'pretrain', 'fast_electra_cached', *map(str, options)])}")


def _export(args: Sequence[str]) -> None:
    from electrain.hub.export import export, push
    from electrain.recipes import load_file

    chosen: Export = parse(Export, first_as("--run", args), "export")
    if chosen.code is not None:
        load_file(chosen.code)
    part = None if chosen.part == "auto" else chosen.part
    name = chosen.push_to_hub
    made = export(chosen.run, chosen.out, part, chosen.checkpoint, name, average=chosen.average)
    print(f"exported: {made}")
    if chosen.push_to_hub:
        print(f"on the Hub: {push(made, chosen.push_to_hub)}")
    load = f"from transformers import AutoModel; AutoModel.from_pretrained({json.dumps(str(made))})"
    print(f"next:     {shlex.join(['python', '-c', load])}")


def _flops(args: Sequence[str]) -> None:
    from electrain.chosen import choose
    from electrain.flops import describe

    chosen = choose(Flops, args, "flops")
    if chosen.vocab_size < 1:
        raise UserError(f"--vocab-size {chosen.vocab_size}: choose 1 or more")
    _print(describe(chosen.run.plain, chosen.vocab_size), 120)


def _plan(args: Sequence[str]) -> None:
    from electrain.chosen import choose
    from electrain.plan.settings import Plan
    from electrain.plan.show import describe

    chosen = choose(Plan, args, "plan")
    _print(describe(chosen.run.plain, chosen), 120)


def _print(table: Any, width: int) -> None:
    """Tables, so wide where no terminal says how wide it is."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = width
    console.print(table)


def _process() -> str:
    """Which process speaks, if not the first. Where nothing has loaded what knows, there is one."""
    distributed = sys.modules.get("electrain.distributed")
    return f" (process {distributed.rank()})" if distributed and not distributed.first() else ""


_CALLS: dict[str, Callable[[Sequence[str]], None]] = {
    "quickstart": _quickstart,
    "prepare": _prepare,
    "recipes": _recipes,
    "pretrain": _pretrain,
    "cache": _cache,
    "finetune": _finetune,
    "blimp": _blimp,
    "score": _score,
    "similarity": _similarity,
    "inspect": _inspect,
    "study": _study,
    "report": _report,
    "export": _export,
    "flops": _flops,
    "plan": _plan,
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
            raise UserError(f"there is no verb {args[0]!r}; {meant(args[0], _CALLS)}choose one of {', '.join(_CALLS)}")
        _CALLS[args[0]](args[1:])
        sys.stdout.flush()
    except UserError as error:
        print(f"electrain{_process()}: {message(redaction.text(str(error)))}", file=sys.stderr)
        raise SystemExit(2) from None
    except Elsewhere:
        raise SystemExit(2) from None
    except BrokenPipeError:  # what reads our output has read enough (| head); Python must not write there again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Stopped as stop:
        raise SystemExit(128 + stop.number) from None
