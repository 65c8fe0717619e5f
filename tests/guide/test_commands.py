"""Every command, option and link of README and the guide is one that there is.

Commands are parsed by the command line itself, with the work that they would do taken out: `test_walk.py` does the work
for a way through the guide. In the running text a command may leave out what it needs (`electrain pretrain amos`).
"""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from electrain import cli
from tests.commands import give
from tests.guide.pages import LANGUAGES, PAGES, PROGRAMS, ROOT, blocks, shell, spans

# What a verb calls to do its work, and what stands in for its result.
WORK: dict[str, tuple[tuple[str, object], ...]] = {
    "quickstart": (("electrain.quickstart.quickstart", None),),
    "prepare": (("electrain.data.prepare.prepare", None),),
    "recipes": (("electrain.catalogue.catalogue", None),),
    "pretrain": (("electrain.train.pretrain", Path("checkpoint")),),
    "cache": (("electrain.propose.propose", None),),
    "finetune": (("electrain.finetune.conduct.finetune", ""),),
    "blimp": (("electrain.zeroshot.blimp.blimp", ()),),
    "score": (("electrain.zeroshot.score.score", None),),
    "similarity": (("electrain.zeroshot.similarity.similarity", ()),),
    "inspect": (("electrain.inspect.page.inspect", None),),
    "study": (("electrain.study.conduct.conduct", ()),),
    "report": (("electrain.report.build.report", Path("page.html")),),
    "export": (("electrain.hub.export.export", Path("export")), ("electrain.hub.export.push", "address")),
    "flops": (("electrain.flops.describe", ""),),
    "plan": (("electrain.plan.show.describe", ""),),
}
# Commands of other programs, which nothing here can parse: each with its reason.
ELSEWHERE = {
    "python3 -m venv .venv": "Python's own",
    ".venv/bin/pip install -e . -c constraints.txt": "the Makefile gives it, and CI the Makefile",
    "source .venv/bin/activate": "the shell's own",
    "hf auth login": "needs an account on the Hub",
}
# Options in the running text that are another program's.
THEIRS = {"--hparams", "--max-restarts", "--nnodes", "--rdzv-endpoint", "--nproc-per-node"}
NEEDED = {
    "prepare": ["--corpus", "builtin", "--out", "DIR"],
    "pretrain": ["--data", "DIR", "--out", "RUN"],
    "cache": ["GENERATOR", "--data", "DIR", "--out", "CACHE"],
    "finetune": ["--model", "RUN", "--out", "DIR"],
    "blimp": ["--model", "RUN", "--data", "DIR"],
    "score": ["text.txt", "--model", "RUN"],
    "similarity": ["--model", "RUN", "--data", "DIR"],
    "study": ["--data", "DIR", "--out", "DIR"],
    "export": ["RUN", "--out", "DIR"],
    "report": ["RUN"],
}
RECIPES = (
    *("electra_tiny", "electra_modern_tiny", "fast_electra", "fast_electra_cached", "electra_decoupled"),
    *("electra_two_stage", "bert_base"),
)


class Parsed(Exception):
    """Raised where a script has understood its arguments and would begin."""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verb does any work."""
    assert set(WORK) == set(cli.VERBS), "say in WORK what a new verb calls"
    for calls in WORK.values():
        for name, result in calls:
            module, _, function = name.rpartition(".")  # a package may hold a function of a module's name
            monkeypatch.setattr(import_module(module), function, lambda *_, result=result, **__: result)


def understood(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """ "" if the command is understood by what it names, or what is wrong with it."""
    program, *rest = words
    if shlex.join(words) in ELSEWHERE or words == [".ci/run"]:
        return "" if words != [".ci/run"] or (ROOT / ".ci" / "run").is_file() else "no such file"
    if program == "electrain":
        if rest[-1:] == ["--help"] or rest == ["--version"]:
            return "" if give(capsys, *rest).code == 0 else "no such help"
        left = give(capsys, *rest)
        return "" if left.code == 0 else left.said
    if program == "torchrun":
        before, mark, ours = rest[: (at := rest.index("-m"))], rest[at], rest[at + 1 :]
        try:
            get_args_parser().parse_args([*before, mark, *ours])
        except SystemExit:
            return capsys.readouterr().err
        return understood(ours, capsys, monkeypatch)
    if program == "make":
        done = subprocess.run(["make", "-n", *rest], cwd=ROOT, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr
    if program == "python" and rest[0].endswith(".py"):
        return script(rest, capsys, monkeypatch)
    return f"nobody knows how to test {program!r}"


def script(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """ "" if a Python file of the repository takes these arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *_: object) -> None:
        parse(self, words[1:])
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:]])
        patch.setattr(sys, "path", [str((ROOT / words[0]).parent), *sys.path])
        patch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        try:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except Parsed:
            return ""
        except (SystemExit, OSError) as error:
            return f"{error} {capsys.readouterr().err}"
    return "has no arguments" if words[1:] else ""


def plain(words: list[str]) -> list[str]:
    """A command of the running text, or one with words for people in it, as it would be given."""
    text = re.sub(r"\[[^]]*\]", "", shlex.join(words))
    text = re.sub(r"(\w+)\|[\w|]+", r"\1", text)  # tiny|small|base: the first
    text = re.sub(r"--[\w-]+ \.\.\.", "", text)  # --data ...: yours to fill in
    chosen = {"N": "7", "S": "2", "RECIPE": "electra", "NAME": "electra", "SIZE": "small"}
    return [chosen.get(word, word) for word in shlex.split(text) if word not in ("", "...", ",")]


def completed(words: list[str]) -> list[str]:
    """A command of the running text with what it leaves out."""
    verb = words[1]
    first = 1 if verb in ("pretrain", "finetune", "study") else 0
    if verb in ("finetune", "study") and len(words) == 2:
        words = [*words, {"finetune": "mrpc", "study": "ladder"}[verb]]
    if verb in ("flops", "plan", "pretrain") and len(words) == 2:
        words = [*words, "electra_small"]
    given = {word for word in words if word.startswith("--")}
    needed = NEEDED.get(verb, [])
    bare = [word for word in needed[:1] if not word.startswith("--") and len(words) == 2 + first]
    pairs = [needed[i : i + 2] for i in range(needed[:1] != [] and not needed[0].startswith("--"), len(needed), 2)]
    return [*words, *bare, *(word for pair in pairs if pair[0] not in given for word in pair)]


@cache
def options() -> frozenset[str]:
    """Every option of every verb and script."""
    words = [[verb] for verb in cli.VERBS if verb not in ("pretrain", "plan", "flops", "finetune", "study", "recipes")]
    words += [["pretrain", name] for name in RECIPES] + [["plan", "electra_base"], ["flops", "electra_base"]]
    words += [["finetune", "mrpc"], ["study", "ladder"], ["pretrain", "electra", "--optimizer", "muon"]]
    found: set[str] = set()
    for call in words:
        done = _help(call)
        found |= set(re.findall(r"(?m)^[\s│]*(?:-\w, )?(--[a-z][\w.-]*)", done))
    for path in (path for folder in ("examples", "benchmarks", "records") for path in (ROOT / folder).glob("*.py")):
        found |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text(encoding="utf-8")))
    return frozenset(found)


def _help(words: list[str]) -> str:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    return said.getvalue()


def every() -> Iterator[tuple[str, list[str], bool]]:
    """Place and words of every command, and whether it stands in the running text."""
    for page in PAGES:
        for where, words in shell(page):
            yield where, words, False
        for span in spans(page):
            for command in span.split(" && "):
                if command.split()[0] in ("electrain", "torchrun", "make", "python") and len(command.split()) > 1:
                    yield page.relative_to(ROOT).as_posix(), shlex.split(command), True


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    wrong = [str(block) for page in PAGES for block in blocks(page) if block.language not in {*LANGUAGES, ""}]
    assert not wrong, f"write sh, python or text after the fence: {wrong}"
    hidden = [
        str(block)
        for page in PAGES
        for block in blocks(page)
        if block.language == "text" and re.search(r"(?m)^(electrain|make|pip|python|torchrun) ", block.text)
    ]
    assert not hidden, f"commands in a block of text are not tested: {hidden}"


@pytest.mark.usefixtures("idle")
def test_every_command_is_understood(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tutorial: Path
) -> None:
    monkeypatch.chdir(tutorial)
    wrong, seen = [], set()
    for where, written, inline in every():
        if "VERB" in written:
            continue
        words = plain(written)
        if inline and "electrain" in words and words[-1] != "--help":
            ours = words.index("electrain")
            words = [*words[:ours], *completed(words[ours:])]
        if tuple(words) not in seen and (said := understood(words, capsys, monkeypatch)):
            wrong.append(f"{where}: {shlex.join(words)}\n    {said}")
        seen.add(tuple(words))
    assert len(seen) > 60  # it looks at something
    assert not wrong, "\n".join(wrong)


def test_every_option_is_one() -> None:
    wrong = []
    for page in PAGES:
        for span in spans(page):
            for name in re.findall(r"(?<![\w-])--[a-z][\w.-]*", span) if span.startswith("--") else ():
                prefix = name.endswith(".")
                known = any(o.startswith(name) for o in options()) if prefix else name in options() | THEIRS
                if not known:
                    wrong.append(f"{page.relative_to(ROOT)}: {span}")
    assert not wrong, wrong


def test_a_wrong_command_is_found(
    idle: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test can fail: misspelt options, values, verbs, targets and files."""
    for line in (
        "electrain pretrain electra_smal --data D --out R",
        "electrain pretrain electra_small --data D --out R --optim.learning-rate 1",
        "electrain pretrain electra_small --data D --out R --steps many",
        "electrain pretrain electra_small --out R",
        "electrain prepare --corpus builtin --out D --vocab-kind wordpieces",
        "electrain traine",
        "torchrun --processes 8 -m electrain pretrain electra_base --data D --out R",
        "torchrun --nproc-per-node 8 -m electrain pretrain electra_bas --data D --out R",
        "make quickstarts",
        "python benchmarks/speed.py --no-such-option 1",
        "python benchmarks/no_such_file.py",
        "rm -rf data",
    ):
        assert understood(shlex.split(line), capsys, monkeypatch), line
    assert "--optim.learning-rate" not in options() and "--optim.lr" in options()


def test_the_allow_list_is_used() -> None:
    """What is excused stands somewhere, and every program is one that the tests look for."""
    given = {shlex.join(words) for _, words, _ in every()} | {span for page in PAGES for span in spans(page)}
    assert not set(ELSEWHERE) - given
    assert {words[0] for _, words, _ in every()} <= {*PROGRAMS, ".venv/bin/pip"}
