"""A contestant of the table: ours, or the plain loop over transformers; the same rows, sizes and dropout."""

import json
import sys
import traceback
from collections.abc import Callable
from itertools import count

import torch
from ours import Training, rows_of
from plain import Loop
from turns import Gate

from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.errors import reason
from electrain.systems.pair import Pair
from gpu.setting import COMPILED, OURS, Contestant, Setting


def work(where: Setting, name: str) -> None:
    """Make steps as the other side asks for them; what fails is answered in one line."""
    try:
        gate = Gate()
        one = where.contestant(name)
        step = ours(where, one) if one.who == OURS else theirs(where, one)
        gate.open()
        for number in count():
            step(number)
            if number == 1 and where.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()  # of the steps, not of compiling
            gate.step(one.rows * one.run.length)
    except Exception as error:
        traceback.print_exc()
        said = "out of memory" if isinstance(error, torch.OutOfMemoryError) else f"{type(error).__name__}"
        print(f"\n@{json.dumps({'failed': f'{said}: {reason(error)[:200]}'})}", file=sys.__stdout__, flush=True)


def ours(where: Setting, one: Contestant) -> Callable[[int], object]:
    """The recipe's step, compiled; not compiled is no contestant."""
    made = Training(one.run, one.rows, where.device, where.vocab, torch.bfloat16, compile=True)

    def step(number: int) -> None:
        made.step(number)
        if number == 0 and not made.said[-1].startswith("compiled in "):
            raise RuntimeError(made.said[-1])

    return step


def theirs(where: Setting, one: Contestant) -> Callable[[int], object]:
    """The joint step as one writes it with transformers."""
    system = one.run.system
    assert isinstance(system, Pair.Config) and isinstance(system.encoder, Bert.Config)
    assert isinstance(system.corruptor, Joint.Config)
    random = torch.manual_seed(0)
    ids = rows_of(one.rows, one.run.length, where.vocab, random).to(where.device)
    compiled = one.who == COMPILED
    loop = Loop(system.encoder, system.corruptor.width, where.vocab.size, ids, torch.bfloat16, compiled)
    return lambda _number: loop.step()
