"""What a person can choose of a report; the docstring under a field is its help."""

from dataclasses import dataclass
from pathlib import Path

from electrain.errors import UserError


@dataclass(frozen=True)
class Report:
    """One page of one or more runs, to be opened in a browser: curves, held-out sentences, results, how it was made."""

    runs: tuple[Path, ...]
    """Folders of runs; that of a study stands for all of its runs."""
    out: Path | None = None
    """HTML file to write; report.html in the folder, where there is one folder."""
    results: tuple[Path, ...] = ()
    """Folders in which `electrain finetune --out` and `electrain blimp --out` have left results; those inside a run's
    folder are found without being named."""
    watch: bool = False
    """Write the page again and again until the runs end; the open page reloads itself."""
    every: float = 30.0
    """Seconds between two pages, with --watch."""
    code: Path | None = None
    """The Python file of your own recipe, where a run was made from one."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("report: name the folder of a run, or of several")
        if not 1 <= self.every <= 86400:
            raise UserError(f"report: every is {self.every}; choose 1 second or more, a day at most")
        if self.out is None and len(self.runs) > 1:
            raise UserError("report: of several folders; say where the page goes with --out page.html")

    @property
    def page(self) -> Path:
        """The file that is written."""
        return self.runs[0] / "report.html" if self.out is None else self.out
