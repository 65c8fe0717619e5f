"""The command `electrain`, and `python -m electrain`."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_MOMENT, _LATER = 0.01, 1.0  # seconds


def _unraisable(what: "UnraisableHookArgs") -> None:
    """Ctrl-C comes again a moment later if it fell into a finalizer: Python swallows what is raised there."""
    if isinstance(what.exc_value, KeyboardInterrupt):
        _arm()
    else:
        sys.__unraisablehook__(what)


def _arm() -> None:
    """An alarm, and more until one is heard: Python misses a signal that comes just before a call that blocks."""
    signal.setitimer(signal.ITIMER_REAL, _MOMENT, _LATER)


def _again(_number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code in (_unraisable.__code__, _arm.__code__):  # swallowed there too
        _arm()
    else:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt


def main() -> None:
    """Loads the program, which takes seconds, and runs it; Ctrl-C is heard from the first of them on."""
    # Of a process that is gone we say which it is; PyTorch would add its C++ stack. It reads this as it is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.unraisablehook = _unraisable
    signal.signal(signal.SIGALRM, _again)
    try:
        from electrain.cli import main as run

        run()
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        # Nothing is left to be interrupted: Ctrl-C ends the process, and raises nothing in what Python does at exit.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
