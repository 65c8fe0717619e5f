"""The command `electrain`, and `python -m electrain`."""

import os
import sys


def main() -> None:
    """Loads the program, which takes seconds, and runs it; Ctrl-C is heard from the first of them on."""
    # Of a process that is gone we say which it is; PyTorch would add its C++ stack. It reads this as it is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from electrain.cli import main as run
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
