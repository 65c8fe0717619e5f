"""The models that the page can show: opened when they are asked for, the last few kept."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from electrain import checkpoint
from electrain.corruptors.base import Corruptor
from electrain.curriculum import Schedule
from electrain.errors import UserError
from electrain.hub.opened import Lm, Opened, opened
from electrain.inspect.line import Reader
from electrain.run import Record
from electrain.tracking import say
from electrain.zeroshot.measures import generator_of

KEPT = 4  # opened models


class Choice(NamedTuple):
    """A model by its name: a place, and of a run the checkpoint ("latest", "best", a step)."""

    place: str
    checkpoint: str = "latest"


class Shown(NamedTuple):
    """An opened model, its tokenizer, the masked language model that corrupts for it, and of a run what it chose of its
    corruptor.
    """

    model: Opened
    reader: Reader
    lm: Lm | None
    chosen: Corruptor.Config | None

    @property
    def masked(self) -> float:
        """Share of the selected places that the generator reads as [MASK]: the run's, or ELECTRA's."""
        share = getattr(self.chosen, "masked", 0.85)
        return share if isinstance(share, float) else 0.85

    @property
    def falling(self) -> Schedule | None:
        """The temperature's schedule, where the run's moves."""
        schedule = getattr(self.chosen, "temperature", None)
        return schedule if isinstance(schedule, Schedule) and len(set(schedule.values)) > 1 else None


class Shelf:
    """Opens models and their tokenizers.

    generator: where the masked language model is for models that have none, or ""
    """

    def __init__(self, generator: str = ""):
        self._generator = generator
        self.take = lru_cache(KEPT)(self._open)

    def _open(self, choice: Choice) -> Shown:
        """A model. UserError if it cannot be opened, or the generator does not fit it."""
        model = opened(choice.place, choice.checkpoint, warn=say)
        lm = model.lm
        if lm is None and self._generator:
            lm = generator_of(model, self._generator)
        chosen = None
        if model.step is not None:
            chosen = getattr(Record.load(Path(choice.place).expanduser()).run.system, "corruptor", None)
        return Shown(model, Reader(model.tokenizer), lm, chosen if isinstance(chosen, Corruptor.Config) else None)


def steps_of(place: str) -> list[str]:
    """The steps of a run's checkpoints, oldest first; none for what is no run."""
    run = Path(place).expanduser()
    return [str(checkpoint.step_of(path)) for path in checkpoint.listed(run)] if (run / "run.json").is_file() else []


def sides(models: tuple[str, ...], checkpoints: tuple[str, ...]) -> list[Choice]:
    """One or two models to begin with. UserError for more, or for checkpoints that belong to nothing."""
    if not 1 <= len(models) <= 2 or len(checkpoints) > 2:
        raise UserError("inspect: shows one model or two side by side; give --model, or --checkpoint, at most twice")
    count = max(len(models), len(checkpoints))
    if len(checkpoints) == 1 and len(models) == 2:
        checkpoints *= 2
    named = [*checkpoints, *["latest"] * (count - len(checkpoints))]
    places = [models[min(side, len(models) - 1)] for side in range(count)]
    return [Choice(place, which if steps_of(place) else "latest") for place, which in zip(places, named, strict=True)]
