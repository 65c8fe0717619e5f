"""What can be run, a line each: the list that `electrain recipes` prints."""

from rich.console import Console
from rich.table import Table

from electrain.flops import count
from electrain.recipes import published, summary


def catalogue() -> None:
    """Print every recipe with its size and what it is: a table on a terminal, plain lines elsewhere."""
    rows = [
        (name, f"{count(function()).parameters.model / 1e6:.1f}M", summary(function))
        for name, function in published().items()
    ]
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table("recipe", "parameters", "what it is", box=None, padding=(0, 2, 0, 0))
        table.columns[1].justify = "right"
        for name, size, what in rows:
            table.add_row(name, size, what)
        console.print(table, markup=False)
    else:  # a line each, whatever reads them
        width = max(len(name) for name, _, _ in rows)
        for name, size, what in rows:
            print(f"{name:<{width}}  {size:>7}  {what}")
    print("\nParameters are the model's, a joint generator's left out, with a vocabulary of 30522.")
    print("next:  electrain pretrain NAME --data DIR --out RUN       electrain pretrain NAME --help lists every field")
