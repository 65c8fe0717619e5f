"""Run: the whole configuration of a run; to and from run.json."""

import dataclasses
import hashlib
import importlib
import json
import sys
import types
import typing
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from electrain.compute import Compute
from electrain.data.examples import Full, Packing
from electrain.distributed import Parallel
from electrain.errors import UserError, reason
from electrain.files import write
from electrain.growth import Growth
from electrain.guard import Trouble
from electrain.optim.adam import Adam
from electrain.optim.base import Optim
from electrain.source import READ
from electrain.systems.base import Pretraining


@dataclass(frozen=True)
class Run:
    """Everything that decides what a run computes, and how often it speaks."""

    system: Pretraining.Config
    """What is trained: encoder, corruptor, objective."""
    recipe: str = ""
    """Name of the recipe that the run was made from."""
    steps: int = 1_000_000
    """Updates of the weights."""
    batch: int = 128
    """Rows of an update, over all processes and micro-batches."""
    length: int = 128
    """Tokens of a row."""
    seed: int = 0
    """Of weights, order of the data, places, samples and dropout."""
    accumulate: int = 1
    """Micro-batches of an update; each is shared out over the processes."""
    log_every: int = 100
    """Steps between lines of metrics.jsonl."""
    eval_every: int = 10_000
    """Steps between held-out evaluations."""
    eval_rows: int = 1024
    """Rows of a held-out evaluation, the same ones every time."""
    save_every: int = 10_000
    """Steps between checkpoints."""
    save_minutes: float = 20.0
    """Minutes between checkpoints, whichever comes first; 0 for steps alone."""
    keep: int = 2
    """Last checkpoints kept, beside the best."""
    growth: Growth = field(default_factory=Growth)
    """How large the first updates are."""
    packing: Packing.Config = field(default_factory=Full.Config)
    """How documents fill rows."""
    optim: Optim = field(default_factory=Adam)
    """Optimizer and schedule."""
    compute: Compute = field(default_factory=Compute)
    """Device, number format, compilation."""
    parallel: Parallel = field(default_factory=Parallel)
    """How several processes share the run (torchrun)."""
    trouble: Trouble = field(default_factory=Trouble)
    """What is done where training goes wrong."""
    track: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Trackers beside metrics.jsonl and the progress bar."""
    first: "Run | None" = None
    """A run that comes before, made by the same command in OUT/first: this one starts from its networks."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch",
            "length",
            "accumulate",
            "log_every",
            "eval_every",
            "eval_rows",
            "save_every",
            "keep",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"run: {name} is {getattr(self, name)}; choose 1 or more")
        if self.batch % self.accumulate:
            raise UserError(f"run: batch {self.batch} is not a multiple of accumulate {self.accumulate}")
        if not 0 <= self.save_minutes < float("inf"):
            raise UserError(f"run: save_minutes is {self.save_minutes}; choose 0 or more")
        if not -(2**63) <= self.seed < 2**63:
            raise UserError(f"run: seed is {self.seed}; choose a whole number that 64 bits hold")
        self.growth.check(self.batch, self.length, self.accumulate)
        self.system.encoder.check(self.length)
        if self.system.encoder.apart != self.packing.apart:
            raise UserError(
                "run: encoder and packing must agree on the documents of a row; give both --packing.documents and "
                "--system.encoder.documents, together or apart (a post-LN encoder keeps them together)"
            )

    def tokens(self, step: int) -> int:
        """Tokens that are read before step 0 .. steps."""
        return self.growth.before(step, self.steps, self.batch) * self.length

    @property
    def extent(self) -> str:
        """Steps, and the rows and tokens of one, in words."""
        grown = ", once they have grown" if self.growth.grows else ""
        return f"{self.steps:,} steps of {self.batch:,} rows of {self.length} tokens{grown}"

    def to_json(self) -> dict[str, Any]:
        """A tree of plain values; every dataclass names its type."""
        return _plain(self)

    @staticmethod
    def from_json(tree: Any) -> "Run":
        """The inverse of `to_json`. UserError if the tree names a type that is no configuration of ours."""
        run = _value(tree, Run, "run")
        if not isinstance(run, Run):
            raise UserError("run.json: holds no run")
        return run


# What may change when a run is gone on with: it decides how often the run speaks and saves, and on what it runs, not
# what it computes. (All micro-batches weigh the same, however full: cut otherwise, the average differs by a hair.)
FREE = {"recipe", "log_every", "eval_every", "eval_rows", "save_every", "save_minutes", "keep", "track"}
FREE |= {"parallel", "trouble", "accumulate", "compute"}


def differences(old: Run, new: Run, free: Set[str] = FREE) -> list[str]:
    """Fields that differ and that a run in progress cannot change, as "name: old -> new"; without the free ones."""
    found: list[str] = []

    def compare(a: Any, b: Any, name: str) -> None:
        if dataclasses.is_dataclass(a) and type(a) is type(b):
            for item in dataclasses.fields(a):
                if not isinstance(a, Run) or item.name not in free:
                    compare(getattr(a, item.name), getattr(b, item.name), f"{name}.{item.name}".lstrip("."))
        elif a != b:
            found.append(f"{name}: {a} -> {b}")

    compare(old, new, "")
    return found


def identity(run: Run, data_sha256: str) -> str:
    """Names what a run computes, whatever it runs on: a digest of its fields but the free ones, and of its data."""

    def fixed(tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        return {name: fixed(value) for name, value in tree.items() if "steps" not in tree or name not in FREE}

    text = json.dumps([fixed(run.to_json()), data_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def settled(new: Any, old: Any) -> Any:
    """`new` with the fields that were read from elsewhere as `old` recorded them."""
    if not dataclasses.is_dataclass(new) or isinstance(new, type) or type(new) is not type(old):
        return new
    values = {}
    for item in dataclasses.fields(new):
        ours, theirs = getattr(new, item.name), getattr(old, item.name)
        values[item.name] = theirs if item.metadata == READ else settled(ours, theirs)
    return dataclasses.replace(new, **values)


@dataclass(frozen=True)
class Record:
    """run.json: the run, the data that it reads, the command that started it and where it ran.

    of: `identity` when the run began, which its checkpoints bear; a later version of ours, with more fields, would
        name it otherwise. Empty where that was not written down yet
    """

    run: Run
    data: str
    data_sha256: str
    command: str
    versions: dict[str, str]
    machine: str
    of: str = ""

    def save(self, out: Path) -> None:
        """Write OUT/run.json, whole or not at all."""
        tree = {**vars(self), "run": self.run.to_json()}
        write(out / "run.json", (json.dumps(tree, indent=2) + "\n").encode())

    @staticmethod
    def load(out: Path) -> "Record":
        """Read OUT/run.json. UserError if it is missing, damaged, or from somewhere else."""
        path = Path(out) / "run.json"
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            said = {key: _value(tree[key], str, key) for key in ("data", "data_sha256", "command", "machine")}
            said["of"] = _value(tree.get("of", ""), str, "of")
            versions = {str(name): str(number) for name, number in tree["versions"].items()}
            return Record(**{**tree, **said, "run": Run.from_json(tree["run"]), "versions": versions})
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{path}: there is none; name the folder that `electrain pretrain --out` made") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            why = reason(error)
            raise UserError(f"{path}: not a run of electrain ({why}); restore it, or start a new run") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"type": f"{type(value).__module__}:{type(value).__qualname__}", **fields}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(tree: Any, hint: Any, where: str) -> Any:
    if isinstance(tree, dict) and "type" in tree:
        kind = _type(str(tree["type"]), where)
        kinds = [part for part in (typing.get_args(hint) or (hint,)) if isinstance(part, type)]
        if not any(issubclass(kind, part) for part in kinds):  # before it is made: another library's may do anything
            raise UserError(f"run.json: {where} names {kind.__qualname__}, which is no configuration here")
        hints = typing.get_type_hints(kind)
        known = {item.name for item in dataclasses.fields(kind)}
        if unknown := sorted(set(tree) - known - {"type"}):
            raise UserError(f"run.json: {where} has unknown fields {', '.join(unknown)}; it is of another version")
        tree = kind(**{k: _value(v, hints[k], f"{where}.{k}") for k, v in tree.items() if k != "type"})
    elif isinstance(tree, list) and (typing.get_origin(hint) is tuple or hint is tuple):
        tree = tuple(tree)
    if not _fits(tree, hint):
        raise UserError(f"run.json: {where} holds {type(tree).__name__}, which it cannot be; restore the file")
    return tree


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as configurations use them."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        many = len(parts) == 2 and parts[1] is Ellipsis
        kinds = parts[:1] * len(value) if many else parts
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    if hint is float:
        return type(value) is float or (type(value) is int and abs(value) < 2**1000)
    if hint in (int, bool, str):
        return type(value) is hint
    return hint is Any or (value is None if hint in (None, type(None)) else isinstance(value, origin or hint))


def _type(name: str, where: str) -> type:
    """A dataclass by its name: of this package, or of a module that the program has imported itself."""
    module_name, _, path = name.partition(":")
    if module_name.split(".")[0] == "electrain":
        try:
            module: types.ModuleType | None = importlib.import_module(module_name)
        except ImportError:
            module = None
    else:
        module = sys.modules.get(module_name)
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise UserError(
            f"run.json: {where} names {name}, which is no configuration here; import its module first (export: --code)"
        )
    return found
