"""What is measured: the recipes, and the waves of the table; on a GPU, or dry with tiny shapes on a CPU."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from ours import vocab_of

from electrain.compute import Compute
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.optim.adam import Adam
from electrain.recipes.bert import bert_base, bert_small
from electrain.recipes.electra import electra, electra_base, electra_large, electra_small
from electrain.recipes.fast_electra import fast_electra
from electrain.recipes.fast_electra_cached import fast_electra_cached
from electrain.recipes.sizes import BASE, SIZES, SMALL, Size
from electrain.run import Run
from electrain.vocab import Vocab

OURS, EAGER, COMPILED = "electrain compiled", "transformers eager", "transformers compiled"
_TINY = Bert.Config(layers=1, hidden=64, ffn=128, heads=4, embedding=32, positions=32)
_SMALLEST = Modern.Config(layers=2, hidden=64, ffn=64, heads=2, embedding=64, positions=32, window=4, global_every=2)
DRY = Size(_TINY, 1 / 4, 1.0, 1, 400, 8, 32, Adam(lr=1e-3, warmup=20))
MODERN = replace(DRY, encoder=_SMALLEST)


class Contestant(NamedTuple):
    """A row of the table: who makes the step of which run, with how many rows."""

    who: str
    recipe: str
    run: Run
    rows: int

    @property
    def name(self) -> str:
        return f"{self.recipe} {self.rows}x{self.run.length}, {self.who}"


class Wave(NamedTuple):
    """Contestants that are timed in turn, `steps` each in a round."""

    name: str
    steps: int
    contestants: tuple[Contestant, ...]


@dataclass(frozen=True)
class Setting:
    """Where, and with what sizes.

    run:     ELECTRA-Small's, for parity, graph and the real run
    parity:  rows of the step that is compared with the CPU's
    """

    dry: bool
    device: torch.device
    vocab: Vocab
    run: Run
    parity: int
    rounds: int
    waves: tuple[Wave, ...]

    def contestant(self, name: str) -> Contestant:
        """The one of this name."""
        return next(one for wave in self.waves for one in wave.contestants if one.name == name)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def choose(dry: bool) -> Setting:
    """UserError if there is no GPU for what is not dry."""
    if dry:
        Compute(device="cpu").start()
        run = replace(electra(DRY), log_every=5, eval_every=50, eval_rows=16)
        return Setting(True, torch.device("cpu"), vocab_of(300), run, 4, 2, _dry_waves())
    if not torch.cuda.is_available():
        raise UserError("torch finds no GPU here; --dry runs the same code on the CPU, with tiny shapes")
    return Setting(False, Compute(device="cuda").start(), vocab_of(30522), electra_small(), 16, 5, _waves())


def _waves() -> tuple[Wave, ...]:
    """Most important first. What is compared is in one wave; its memory has to fit beside each other's."""
    small, base, large = electra_small(), electra_base(), electra_large()
    frozen_small, frozen_base = fast_electra(SMALL), fast_electra(BASE)
    cached_small, cached_base = fast_electra_cached(SMALL), fast_electra_cached(BASE)

    def ours(recipe: str, run: Run, rows: int) -> Contestant:
        return Contestant(OURS, recipe, run, rows)

    def three(recipe: str, run: Run, rows: int) -> tuple[Contestant, ...]:
        return tuple(Contestant(who, recipe, run, rows) for who in (OURS, COMPILED, EAGER))

    return (
        Wave("small", 40, (*three("electra_small", small, 128), ours("electra_small", small, 512))),
        Wave("base", 8, three("electra_base", base, 32)),
        Wave(
            "systems at small",
            20,
            (
                ours("electra_small", small, 256),
                ours("fast_electra_small", frozen_small, 256),
                ours("fast_electra_cached_small", cached_small, 256),
                ours("bert_small", bert_small(), 256),
            ),
        ),
        Wave(
            "systems at base",
            8,
            (
                ours("electra_base", base, 24),
                ours("fast_electra_base", frozen_base, 24),
                ours("fast_electra_cached_base", cached_base, 24),
                ours("bert_base", bert_base(), 24),
            ),
        ),
        Wave(
            "the modern encoder",
            8,
            (
                ours("electra_small", small, 192),
                ours("electra_modern_small", electra(SIZES["modern-small"]), 192),
                ours("electra_base", base, 16),
                ours("electra_modern_base", electra(SIZES["modern-base"]), 16),
            ),
        ),
        Wave("large", 4, (ours("electra_large", large, 16), ours("electra_large", large, 32))),
        Wave("small, larger batches", 10, (ours("electra_small", small, 1024), ours("electra_small", small, 2048))),
        Wave("base, larger batches", 5, (ours("electra_base", base, 64), ours("electra_base", base, 128))),
        Wave("small, transformers' larger batch", 10, three("electra_small", small, 256)[1:2]),
        Wave("large, larger batch", 3, (ours("electra_large", large, 64),)),
        Wave("base, largest batch", 3, (ours("electra_base", base, 256),)),
    )


def _dry_waves() -> tuple[Wave, ...]:
    joint = electra(DRY)
    return (
        Wave("joint", 2, tuple(Contestant(who, "electra", joint, 8) for who in (OURS, COMPILED))),
        Wave("cached", 2, (Contestant(OURS, "fast_electra_cached", fast_electra_cached(DRY), 8),)),
        Wave("the modern encoder", 2, (Contestant(OURS, "electra_modern", electra(MODERN), 8),)),
    )
