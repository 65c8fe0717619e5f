"""What is fuzzed: a folder of files of which one is changed, and the call that reads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutate import Kind, changed

ABSENT = 0.004  # share of the inputs where the file is missing, or a folder


@dataclass(frozen=True)
class Target:
    """A reader.

    what:     for people
    inputs:   how many of them, of a million in all
    files:    what lies in the folder; those in `kinds` are changed
    call:     reads the folder, given the name of the changed file; success, or UserError
    seal:     makes a checksum in the file right again, so that what lies behind it is reached
    make:     makes the changed file's content, in place of changes to it
    whole:    whether what a refusal leaves in the folder is looked at: it must be what was there before
    """

    name: str
    what: str
    inputs: int
    files: Mapping[str, bytes]
    kinds: Mapping[str, Kind]
    call: Callable[[Path, str], object]
    seal: Callable[[str, bytes], bytes] | None = None
    make: Callable[[Random], bytes] | None = None
    whole: bool = False

    def input(self, seed: int, number: int) -> tuple[str, bytes | None]:
        """The file that is changed in input `number`, and what it then holds; None where it is missing."""
        random = Random(f"{seed}/{self.name}/{number}")
        name = random.choice(list(self.kinds))
        if self.make is None and random.random() < ABSENT:
            return name, None
        if self.make is not None:
            return name, self.make(random)
        others = [content for other, content in self.files.items() if self.kinds.get(other) == self.kinds[name]]
        content = changed(self.files[name], self.kinds[name], others, random)
        if self.seal is not None and random.random() < 0.7:
            content = self.seal(name, content)
        return name, content


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its name there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
