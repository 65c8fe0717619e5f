"""Equal operations: how many steps of a run a budget pays for, the stages before it counted in.

Operations are the plain count of `flops.py`: 2mnk a matrix product, three times where it is trained.
"""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, final

from jaxtyping import Int
from torch import Tensor

from electrain.corruptors.mask import Mask
from electrain.data.shards import Shards
from electrain.encoders.base import Encoder
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.flops import count
from electrain.hub.source import Folders
from electrain.objectives.mlm import Mlm
from electrain.optim.adam import Adam
from electrain.outline import outline
from electrain.recipes.sizes import Size
from electrain.run import Run
from electrain.source import MaskedLm, Proposals, Source
from electrain.system import System
from electrain.systems.networks import masked_lm_of
from electrain.vocab import Vocab


class NoStage(UserError):
    """A system asks for the network of a stage before it, and its run has none."""


@final
class Planned(Source):
    """Answers for stages that are still to be trained: their sizes are known, their weights are not."""

    def __init__(self, data: Path, vocab: Vocab, first: Run | None):
        self.folders, self.vocab, self.first = Folders(data), vocab, first

    def frequencies(self) -> Int[Tensor, " v"]:
        return self.folders.frequencies()

    def masked_lm(self, place: str) -> MaskedLm:
        if place:
            return self.folders.masked_lm(place)
        if self.first is None:
            raise NoStage("it needs a trained generator, and no stage before it makes one")
        with outline():
            found = masked_lm_of(self.first.system.build(self.vocab), "generator", "bert")
            if found is None:
                raise UserError("the stage before it trains no masked language model")
            return EncoderLm.Config(found[0].config).build(self.vocab)

    def encoder(self) -> Encoder:
        if self.first is None:
            return self.folders.encoder()
        with outline():
            return self.first.system.build(self.vocab).encoder

    def proposals(self, place: str) -> Proposals:
        return self.folders.proposals(place)


def complete(run: Run, size: Size, data: Path) -> Run:
    """The run as it stands; or, if it asks for a trained generator that it does not name, with a stage that makes one.

    That stage is ours: a masked LM of the size's own auxiliary encoder (15 %, 80/10/10), for as many steps, which is
    how often a joint generator would be updated. UserError if the run asks for anything else, a cache above all.
    """
    shards = Shards.open(data)
    source = Planned(data, shards.vocab, run.first)
    try:
        system = run.system.resolve(source)
    except NoStage:
        bert = System.Config(size.generator(), Mask.Config(), Mlm.Config())
        return replace(run, first=size.run(f"{run.recipe}: generator", bert, steps=run.steps))
    system.reader(source, run.packing.build(shards, run.length))  # what is read beside the text has to be there as well
    return run


def step_cost(run: Run, data: Path, vocab: Vocab) -> float:
    """Operations of one step of a run (the mean, where updates grow), the stages before it left out."""
    system = run.system.resolve(Planned(data, vocab, run.first))
    return count(replace(run, system=system, first=None), vocab.size).plain_total.run / run.steps


def operations(run: Run, data: Path, vocab: Vocab) -> float:
    """Operations of a run and of the stages before it."""
    before = 0.0 if run.first is None else operations(run.first, data, vocab)
    return before + run.steps * step_cost(run, data, vocab)


def afford(run: Run, budget: float, data: Path, vocab: Vocab) -> Run:
    """The run with as many steps as the budget pays for, to within one step; never more.

    A stage before keeps its share of the operations. Warm-ups keep their share of the steps: 150 steps of 2,700 must
    not become the whole of a short run. UserError if the budget is too small for a step of every stage.
    """
    share, spent = budget / operations(run, data, vocab), 0.0
    if run.first is not None:
        run = replace(run, first=afford(run.first, share * operations(run.first, data, vocab), data, vocab))
        assert run.first is not None
        spent = operations(run.first, data, vocab)
    step = step_cost(run, data, vocab)
    steps = int((budget - spent) / step * (1 + 1e-12))  # a budget of N steps is N steps, however it was rounded
    if steps < 1:
        raise UserError(
            f"budget: {budget:.3g} operations pay for no step of {run.recipe} ({spent + step:.3g}); choose a larger one"
        )
    return replace(run, steps=steps, optim=_warmed(run.optim, steps / run.steps))


def _warmed(settings: Any, share: float) -> Any:
    """Settings of an optimizer with every warm-up in them stretched."""
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    if isinstance(settings, Adam):
        return replace(settings, warmup=round(settings.warmup * share))
    return replace(settings, **{item.name: _warmed(getattr(settings, item.name), share) for item in fields(settings)})
