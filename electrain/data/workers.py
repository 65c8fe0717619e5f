"""Worker processes that know nothing of the program that started them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def main_unseen() -> Iterator[None]:
    """Processes that are started inside do not import this program's main module again.

    For the command line, whose main module has nothing that they need and would load torch into each of them: seconds,
    and 200 MB.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    # multiprocessing wants a __spec__, if only None; Ray takes a __file__ that is there for a path.
    main.__spec__ = None
    if "__file__" in kept:
        del main.__file__
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
