"""The command `electrain`, and `python -m electrain`."""

import sys


def main() -> None:
    """Loads the program, which takes seconds, and runs it; Ctrl-C is heard from the first of them on."""
    try:
        from electrain.cli import main as run
    except KeyboardInterrupt:
        print("electrain: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
