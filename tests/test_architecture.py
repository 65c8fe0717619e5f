"""The shape of the code: who may import whom, how long a file may be, what an import may cost."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

from electrain.randomness import row_keys

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "electrain"
LONGEST = 300  # lines of a file

# Bottom to top. A unit (a module or a package directly under electrain/) imports itself and units of lower layers.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors",
        "lock distributed vocab randomness files escaping redaction cost curriculum options arguments signals columns "
        "outline",
        "batch progress growth parsing tail",
        "data metrics optim watch guard sharded",
        "source",
        "cache",
        "encoders",
        "corruptors",
        "objectives",
        "systems",
        "system compute",
        "run",
        "checkpoint memory tracking start samples loading",
        "hub flops recipes",
        "about",
        "propose train catalogue savings plan chosen",
        "finetune judge",
        "zeroshot",
        "probe report inspect",
        "study",
        "quickstart",
        "cli",
        "__main__",
    )
)
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}
# Tighter than the layers. run.py knows the bases only, so that a new system edits no existing file.
DATA_IMPORTS = {"data", "lock", "batch", "vocab", "errors", "randomness", "files", "columns", "progress"}
RUN_BASES_ONLY = {"corruptors", "objectives", "encoders", "systems"}


def module_name(path: Path) -> str:
    """electrain/data/shards.py -> electrain.data.shards; electrain/data/__init__.py -> electrain.data."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(module: str) -> set[str]:
    """All modules, ours and others', that `module` imports anywhere: at the top, in a function, for type checkers."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                names.add(whole if whole in SOURCES else base)
    return names


def ours(module: str) -> set[str]:
    """The modules of electrain that `module` imports, itself left out."""
    return {name for name in imported(module) if name == "electrain" or name.startswith("electrain.")} - {module}


def unit(module: str) -> str:
    """electrain.data.shards -> data; electrain itself -> ''."""
    return module.removeprefix("electrain").removeprefix(".").partition(".")[0]


def edges() -> Iterator[tuple[str, str]]:
    for module in SOURCES:
        for name in sorted(ours(module)):
            yield module, name


def fresh(code: str) -> str:
    """What `code` prints in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_has_a_layer() -> None:
    unknown = {unit(module) for module in SOURCES} - set(RANK) - {""}
    assert not unknown, f"give {sorted(unknown)} a place in LAYERS"


def test_imports_run_one_way() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, name in edges()
        if unit(name) != unit(module) and RANK.get(unit(name), -1) >= RANK.get(unit(module), -1) and unit(name)
    ]
    assert not wrong, wrong


def test_the_package_itself_imports_none_of_its_parts() -> None:
    assert not ours("electrain")


def test_data_imports_little() -> None:
    wrong = [f"{module} imports {name}" for module, name in edges() if unit(module) == "data" and unit(name)]
    wrong = [line for line in wrong if unit(line.rpartition(" ")[2]) not in DATA_IMPORTS]
    assert not wrong, wrong


def test_run_knows_only_the_bases() -> None:
    bases = {f"electrain.{folder}.base" for folder in RUN_BASES_ONLY}
    wrong = {name for name in ours("electrain.run") - bases if unit(name) in RUN_BASES_ONLY}
    assert not wrong, f"run.py imports {wrong}"


def test_no_import_circle() -> None:
    graph = {module: ours(module) for module in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_only_what_reads_options_imports_tyro() -> None:
    users = {module for module in SOURCES if any(name.partition(".")[0] == "tyro" for name in imported(module))}
    assert users == {"electrain.parsing", "electrain.chosen"}


def test_files_are_short() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES.values()}
    long = {name: count for name, count in lines.items() if count >= LONGEST}
    assert not long, f"{long}: a file stays under {LONGEST} lines; split it by concept"


def test_import_is_light() -> None:
    """`import electrain` costs less than a second on top of `import torch`, in one of three tries."""
    # Time of the processor, not of the clock: other processes on the machine must not fail this.
    code = "import time, torch; began = time.process_time(); import electrain; print(time.process_time() - began)"
    assert any(float(fresh(code)) < 1.0 for _ in range(3))


def test_training_path_is_light() -> None:
    code = "import sys, electrain.train, electrain.system, electrain.data.loader; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in fresh(code).split()}
    assert not loaded & {"datasets", "datatrove", "tyro", "transformers", "tokenizers"}


def test_the_command_line_is_there_at_once() -> None:
    """Before a verb is known, nothing is loaded that takes seconds."""
    code = "import sys, electrain.cli; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in fresh(code).split()}
    assert not loaded & {"torch", "numpy", "datasets", "datatrove", "transformers", "tokenizers", "pyarrow"}


def tracked() -> list[Path]:
    """The files of the repository: what git lists, or in an unpacked archive everything but environments and caches."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode == 0:
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {"build", "dist", "runs", "wandb", "__pycache__", "constraints-lowest.txt"}
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".venv") and name not in {*skipped, ".git"}]
        folders[:] = [name for name in folders if not name.endswith("_cache") and name != ".hypothesis"]
        found += [Path(folder) / name for name in files if name not in skipped]
    return found


def test_no_path_of_a_machine() -> None:
    """No file names a place on the machine where it was written."""
    place = re.compile(rb"(?<![\w.:/~$}-])/(?:work|root|home|tmp|mnt|Users)/[\w.]")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100].decode(errors='replace')}"
        for path in tracked()
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if place.search(line)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(os.environ.get("ELECTRAIN_TYPECHECK") == "0", reason="ELECTRAIN_TYPECHECK=0")
def test_signatures_are_checked() -> None:
    """The import hook of conftest.py is at work, and out of the way where torch compiles."""
    rows = torch.arange(3)
    with pytest.raises(TypeCheckError):
        row_keys(0, 0, rows.float())
    compiled = torch.compile(row_keys, fullgraph=True, backend="eager")
    assert torch.equal(compiled(0, 0, rows), row_keys(0, 0, rows))
