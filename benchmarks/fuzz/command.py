"""Target: the command line. Exit code 0, or 2 with one line on standard error, and nothing left behind."""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from random import Random
from unittest import mock

from electrain import cli
from electrain.errors import UserError
from fuzz.mutate import arguments
from fuzz.target import Target
from fuzz.world import TEXT

# Folders that are not there: whatever is said must be found out before anything is trained.
COMMANDS = tuple(
    map(
        shlex.split,
        (
            "--help",
            "--version",
            "recipes",
            "quickstart --out out",
            "prepare --corpus texts.txt --out out --documents blank-lines --vocab-size 300 --workers 1",
            "prepare --corpus none.jsonl none/*.parquet --repeat 1 2.5 --out out --tokenizer none --engine local",
            "pretrain electra_tiny --data none --out out --steps 10 --batch 4 --optim.lr 1e-3 --compute.compile False",
            "pretrain electra_small --size tiny --data none --out out --system.encoder.layers 2 --seed 3 --track",
            "pretrain none.py:mine --data none --out out",
            "cache none --data none --out out --top-k 8 --length 16 --rate 0.15",
            "finetune classify --model none --data texts.txt --out out --seeds 2 --lr 1e-4 --untrained True",
            "finetune squad2 --model none --train a.json --dev b.json --out out --epochs 1.5",
            "blimp --model none --data none --by pll --out out",
            "score --model none --file texts.txt --threshold 0.5 --rescore True",
            "study ladder --data none --out out --size tiny --recipes bert electra --seeds 1 --steps 5",
            "export none --out out --part auto --checkpoint latest",
            "flops electra_tiny --vocab-size 300",
            "flops bert --size small --batch 8 --length 64",
        ),
    )
)
MORE = """
-h --run --generator --compute.threads --compute.device --compute.dtype --save-minutes --accumulate --first
--first.steps --packing --packing.single --optim.warmup --system.corruptor.width --system.objective --code
--optim.betas --system.encoder.hidden --system.encoder.dropout --cluster.partition --long --invalid
"""
OPTIONS = (*sorted({word for words in COMMANDS for word in words if word.startswith("--")}), *MORE.split())


def targets(world: Path) -> list[Target]:
    return [
        Target(
            "command", "command line", 1_200, {"texts.txt": TEXT[:600].encode(), "argv": b""}, {"argv": "text"},
            command, whole=True, make=words,
        )
    ]  # fmt: skip


def words(random: Random) -> bytes:
    made = arguments(random.choice(COMMANDS), OPTIONS, random)
    # What is no UTF-8 in an argument comes as half surrogates of its own kind.
    return json.dumps([word.replace("\ud800", "\udcff") for word in made]).encode()


def command(folder: Path, name: str) -> None:
    """Give it in this process. Quickstart, which would train for minutes, is left out behind its options."""
    args = json.loads((folder / name).read_text())
    said, before = io.StringIO(), os.getcwd()
    code: object = 0
    os.chdir(folder)
    try:
        with (
            contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")),
            contextlib.redirect_stderr(said),
            mock.patch("electrain.quickstart.quickstart", _refused),
            mock.patch.object(sys, "argv", ["electrain", *args]),
        ):
            cli.main(args)
    except SystemExit as stop:
        code = stop.code
    finally:
        os.chdir(before)
    lines = said.getvalue()
    if code == 2:
        # What was under way may have been told before; the refusal is the last line, and the only one of its kind.
        last = lines.rstrip("\n").rpartition("\n")[2]
        ours = (last.startswith("electrain: ") and lines.count("electrain: ") == 1) or not args
        if not ours or "Traceback" in lines or any(ord(sign) < 32 for sign in last):
            raise AssertionError(f"exit code 2, and not one line of ours at the end: {lines[:300]!r}")
        raise UserError(lines or "usage")
    if code not in (0, None):
        raise AssertionError(f"exit code {code!r}: {lines[-300:]!r}")
    if (folder / "out").exists():
        shutil.rmtree(folder / "out")


def _refused(out: Path) -> None:
    raise UserError("left out here")
