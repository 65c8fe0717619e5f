"""`python -m electrain`: the same as the command `electrain`."""

from electrain.cli import main

if __name__ == "__main__":
    main()
