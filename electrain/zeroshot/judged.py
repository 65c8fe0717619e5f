"""What the verbs share that judge a model as it is: the model that is meant, progress, and where results go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from electrain.errors import UserError
from electrain.hub.opened import Opened, opened
from electrain.progress import Bar
from electrain.zeroshot.measures import untrained
from electrain.zeroshot.options import Blimp, Similarity

Asked = Blimp | Similarity


def model_of(how: Asked) -> Opened:
    """The model, or the same architecture with fresh weights where that was asked for."""
    model = opened(how.model, how.checkpoint)
    return untrained(model) if how.untrained else model


def title_of(how: Asked, model: Opened) -> str:
    """The model in a few words."""
    fresh = " untrained" if how.untrained else "" if model.step is None else f" step {model.step}"
    return f"{Path(how.model).name}{fresh}"


def folder_of(how: Asked, name: str) -> Path:
    """Where results go: `out`, or the folder `name` in a run's. UserError if that is not said or cannot be."""
    if how.out is None:
        run = Path(how.model).expanduser()
        if not (run / "run.json").is_file():
            raise UserError(
                f"{how.model}: no run (run.json) is there to hold the results; check it, or name a folder with --out"
            )
        return run / name
    if how.out.exists() and not how.out.is_dir():
        raise UserError(f"--out {how.out}: is a file; choose another --out")
    return how.out


def file_of(how: Asked, name: str) -> str:
    """The name of a file of results: what was judged is in it, so that nothing takes another's place."""
    name += "-untrained" if how.untrained else ""
    return name if how.checkpoint == "latest" else f"{name}-{how.checkpoint}"


@contextmanager
def counted(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Two functions: one begins to show progress over so many steps, the other takes steps."""
    bars: list[Bar] = []
    done = 0

    def start(total: int) -> None:
        bars.append(Bar(total, what=what))

    def tick(count: int) -> None:
        nonlocal done
        done += count
        bars[-1].update(done, None)

    try:
        yield start, tick
    finally:
        for bar in bars:
            bar.close()
