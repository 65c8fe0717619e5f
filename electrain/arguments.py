"""The words of a command line before tyro reads them, and what tyro says about them, in one line."""

import difflib
from collections.abc import Iterable, Sequence

from electrain.errors import UserError

VERBS: dict[str, str] = {
    "quickstart": "the whole story on the built-in corpus: prepare, train, evaluate, export, look",
    "prepare": "turn text into a tokenizer, token files and a manifest",
    "recipes": "what can be run, a line each",
    "pretrain": "train a recipe, or go on with a run",
    "cache": "a frozen generator's proposals, once, for every later run",
    "finetune": "fine-tune on a task, and judge: GLUE, SQuAD, tagging, your own table",
    "blimp": "minimal pairs, without fine-tuning",
    "score": "which words of a text look replaced; or sort candidates",
    "similarity": "sentence vectors against people's scores, without fine-tuning",
    "inspect": "a local page: type a text, corrupt it, see what is noticed",
    "study": "several recipes at equal operations, one table",
    "report": "one page of one or more runs, for a browser",
    "export": "a folder that transformers loads",
    "flops": "parameters, operations and memory of a recipe",
    "plan": "memory, time and cost of a recipe on many GPUs, computed",
}


def first_as(option: str, args: Sequence[str]) -> Sequence[str]:
    """The arguments, a first one without a name taken for this option."""
    return [option, *args] if args and (args[0] == "-" or not args[0].startswith("-")) else args


def alone(option: str, args: Sequence[str]) -> Sequence[str]:
    """The arguments, True added to this option where it stands alone: elsewhere booleans take a value."""
    found = list(args)
    for place in range(len(found) - 1, -1, -1):
        if found[place] == option and found[place + 1 : place + 2] not in (["True"], ["False"]):
            found.insert(place + 1, "True")
    return found


def named(args: Sequence[str], verb: str, what: str, where: str) -> tuple[str, Sequence[str]]:
    """What a verb is given first, and the arguments after it."""
    if args and args[0] in ("-h", "--help"):
        print(f"usage: electrain {verb} {what} [options]\n\n{where};")
        print(f"`electrain {verb} {what} --help` lists the options of one.")
        raise SystemExit(0)
    if not args or args[0].startswith("-"):
        raise UserError(f"electrain {verb}: name a {what.lower()} first; {where}")
    return args[0], args[1:]


def meant(name: str, known: Iterable[str]) -> str:
    """A question after a name that there is not: the one that it is most like; nothing where it is like none."""
    return "".join(f"did you mean {like}? " for like in difflib.get_close_matches(name, known, 1))


def meant_option(name: str, known: Sequence[str]) -> str:
    """The same of an option, which may have been called by its last part alone: --lr for --optim.lr."""
    called = {option: [option] for option in known}
    for option in known:
        last = f"--{option.rpartition('.')[2]}"
        if "." in option and last not in known:
            called.setdefault(last, []).append(option)
    like = difflib.get_close_matches(name.replace("_", "-"), called, 1)
    return f"for {name}, did you mean {' or '.join(called[like[0]][:3])}? " if like else ""


def one_line(box: str, verb: str, hint: str = "") -> str:
    """What tyro says in a box, in one line: between its title and the rule that hints on usage follow.

    The box is drawn in ASCII, without sides, where the terminal's encoding is no UTF-8.
    """
    rows = [line.strip("│╭╮╰╯─ ") for line in box.splitlines()]
    rows = ["" if set(row) == {"-"} else row for row in rows]
    start = next((number for number, row in enumerate(rows[1:], start=1) if row), 0)
    words = rows[start : rows.index("", start) if "" in rows[start:] else None]
    if words and words[0].startswith("Missing from"):  # with the help of every option that is missing
        words = ["missing:", ", ".join(text.split()[0] for text in words if text.startswith("--"))]
    return f"{' '.join(words).rstrip('.')}; {hint}`electrain {verb} --help` lists the options"
