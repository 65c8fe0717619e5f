"""Every published recipe: what it says of itself, its sizes as printed, and how a person's own is found."""

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.flops import count
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.recipes import load_file, published, recipe, summary
from electrain.recipes.electra import electra_large
from electrain.run import Run, differences

RECIPES = published()
# A published figure has its paper and section; a published system its paper and section; another says that it is ours.
FIGURE = re.compile(r"\(Clark et al\., 2020, [^)]*(table|section|appendix)[^)]*\): GLUE")
SOURCE = re.compile(r"\([A-Z][^()]*, 20\d\d, [^()]*(table|section|appendix|figure|algorithm)[^()]*\)")


@dataclass(frozen=True)
class Printed:
    """What a paper prints of a model; ELECTRA's table 6, and table 1 for steps and millions of parameters."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    embedding: int
    lr: float
    batch: int
    length: int
    steps: int
    parameters: int
    width: float | None = None
    generator_heads: int = 0
    rate: float = 0.15


SMALL = {"layers": 12, "hidden": 256, "ffn": 1024, "heads": 4, "embedding": 128, "lr": 5e-4, "batch": 128}
BASE = {"layers": 12, "hidden": 768, "ffn": 3072, "heads": 12, "embedding": 768, "lr": 2e-4, "batch": 256}
LARGE = {"layers": 24, "hidden": 1024, "ffn": 4096, "heads": 16, "embedding": 1024, "lr": 2e-4, "batch": 2048}
QUARTER: dict[str, Any] = {"width": 1 / 4, "generator_heads": 1}
PRINTED = {
    "bert_small": Printed(**SMALL, length=128, steps=1_450_000, parameters=14),
    "bert_base": Printed(**BASE, length=512, steps=1_000_000, parameters=110),
    "electra_small": Printed(**SMALL, **QUARTER, length=128, steps=1_000_000, parameters=14),
    "electra_small_official": Printed(**SMALL, **QUARTER, length=128, steps=1_000_000, parameters=14),
    "electra_small_plus": Printed(**SMALL, **QUARTER, length=512, steps=4_000_000, parameters=14),
    "electra_base": Printed(**BASE, length=512, steps=766_000, parameters=110, width=1 / 3, generator_heads=4),
    "electra_large": Printed(
        **LARGE, length=512, steps=400_000, parameters=335, width=1 / 4, generator_heads=4, rate=0.25
    ),
}


def parts(run: Run) -> tuple[Bert.Config, Joint.Config | Mask.Config]:
    encoder, corruptor = run.system.encoder, run.system.corruptor
    assert isinstance(encoder, Bert.Config) and isinstance(corruptor, (Joint.Config, Mask.Config))
    return encoder, corruptor


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_is(name: str) -> None:
    function = RECIPES[name]
    text, run = inspect.getdoc(function) or "", function()
    assert run.recipe == name
    assert all(p.default is not p.empty for p in inspect.signature(function).parameters.values())
    line = summary(function)
    assert 40 < len(line) < 130 and "  " not in line and line[-1] == "."
    assert f"electrain pretrain {name} --data DIR --out RUN" in text or re.search(r"\bours\b", line)
    if name in PRINTED:
        assert FIGURE.search(line), line
    else:
        assert SOURCE.search(line) or re.search(r"\bours\b", line), line
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_built(name: str) -> None:
    run = RECIPES[name]()
    encoder, corruptor = run.system.encoder, getattr(run.system, "corruptor", None)
    assert isinstance(encoder, Bert.Config | Modern.Config) and run.length <= encoder.positions
    assert not isinstance(run.optim, Adam) or run.optim.warmup < run.steps
    if isinstance(corruptor, Joint.Config) and corruptor.tying != "all":
        generator = encoder.scaled(corruptor.width, corruptor.depth)
        assert generator.hidden / generator.heads == encoder.hidden / encoder.heads
    cost = count(run)
    assert cost.parameters.model > 1e6
    assert cost.plain_total.run > 0
    if name in PRINTED:
        assert cost.parameters.model / 1e6 == pytest.approx(PRINTED[name].parameters, rel=0.05)


@pytest.mark.parametrize("name", PRINTED)
def test_a_published_recipe_has_the_printed_settings(name: str) -> None:
    run, printed = RECIPES[name](), PRINTED[name]
    encoder, corruptor = parts(run)
    for field in ("layers", "hidden", "ffn", "heads", "embedding"):
        assert getattr(encoder, field) == getattr(printed, field), field
    assert encoder.hidden // encoder.heads == 64
    assert (encoder.positions, encoder.segments, encoder.norm_eps) == (512, 2, 1e-12)
    assert (encoder.dropout, encoder.attention_dropout, encoder.init_scale) == (0.1, 0.1, 0.02)
    assert (encoder.init, encoder.position_start, encoder.attention_start) == ("normal", "normal", "normal")
    assert (run.batch, run.length, run.steps) == (printed.batch, printed.length, printed.steps)
    optim = run.optim
    assert (optim.lr, optim.warmup, optim.betas, optim.eps) == (printed.lr, 10_000, (0.9, 0.999), 1e-6)
    assert (optim.weight_decay, optim.clip) == (0.01, 1.0)
    assert corruptor.rate == printed.rate
    if printed.width is None:
        assert (corruptor.masked, corruptor.random) == (0.8, 0.1)
        assert isinstance(run.system.objective, Mlm.Config) and run.system.weight == 1.0
        return
    assert isinstance(corruptor, Joint.Config)
    assert (corruptor.masked, corruptor.random, corruptor.tying) == (0.85, 0.0, "embeddings")
    assert run.system.objective == Rtd.Config(places="all") and run.system.weight == 50.0
    generator = encoder.scaled(corruptor.width, corruptor.depth)
    assert generator.layers == encoder.layers and generator.embedding == encoder.embedding
    assert generator.hidden == round(encoder.hidden * printed.width) and generator.ffn == 4 * generator.hidden
    assert (generator.heads, generator.hidden // generator.heads) == (printed.generator_heads, 64)


def test_the_official_variant_differs_in_what_it_names() -> None:
    paper, official = RECIPES["electra_small"](), RECIPES["electra_small_official"]()
    assert differences(paper, official) == [
        "system.corruptor.replacement: False -> True",
        "optim.schedule: linear -> official",
        "optim.bias_correction: True -> False",
    ]
    doc = inspect.getdoc(RECIPES["electra_small_official"]) or ""
    for words in ("bias correction", "with replacement", "product of the warm-up"):
        assert words in doc


def test_what_papers_vary_is_an_argument() -> None:
    assert electra_large(1_750_000) == dataclasses.replace(electra_large(), steps=1_750_000)
    electra = RECIPES["electra_small"]
    assert parts(electra(generator_width=0.5))[1].width == 0.5  # type: ignore[call-arg, union-attr]


@pytest.mark.parametrize(
    ("width", "heads"), [(1 / 8, 1), (1 / 4, 1), (0.3, None), (1 / 2, 2), (0.6, None), (3 / 4, 3), (1.0, 4), (2.0, 8)]
)
def test_a_generators_heads_keep_their_size_or_the_width_is_refused(width: float, heads: int | None) -> None:
    small = Bert.Config()
    if heads is None:
        with pytest.raises(UserError, match="no multiple of the encoder's head size 64; choose width") as error:
            small.scaled(width, 1.0)
        for near in re.findall(r"[\d.]+", str(error.value).split("choose width")[1]):
            assert small.scaled(float(near), 1.0).hidden % 64 == 0
    else:
        generator = small.scaled(width, 1.0)
        assert generator.heads == heads and generator.hidden // heads == min(64, generator.hidden)


@pytest.mark.parametrize(("width", "depth"), [(0.0, 1.0), (0.001, 1.0), (-1.0, 1.0), (0.25, 0.0)])
def test_a_generator_of_nothing_is_refused(width: float, depth: float) -> None:
    with pytest.raises(UserError, match="leave no generator"):
        Bert.Config().scaled(width, depth)


OWN = """
from dataclasses import dataclass
from electrain.recipes.electra import electra_small
from electrain.run import Run

@dataclass(frozen=True)
class Thing:
    size: int = 3

def mine(width: float = 0.25) -> Run:
    return electra_small(width)

def later() -> "Run":
    return electra_small()

def helper() -> int:
    return 1

def needs(width: float) -> Run:
    return electra_small(width)

def _hidden() -> Run:
    return electra_small()
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Writes a file of recipes; forgets the module afterwards, as the next test may have one of the same name."""
    modules, path = set(sys.modules), list(sys.path)

    def write(name: str, text: str = OWN) -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_recipe_of_ones_own(own: Callable[..., Path]) -> None:
    file = own("own_recipes.py")
    assert recipe(f"{file}:mine")() == RECIPES["electra_small"]() == recipe(f"{file}:later")()
    assert load_file(file) is sys.modules["own_recipes"] is load_file(file)  # once: its classes stay the same ones


def test_a_file_may_import_what_lies_beside_it(own: Callable[..., Path]) -> None:
    own("own_beside.py")
    file = own("own_importing.py", "from own_beside import Run, mine as theirs\ndef two() -> Run: return theirs()\n")
    assert recipe(f"{file}:two")() == RECIPES["electra_small"]()
    with pytest.raises(UserError, match=r"it has two$"):
        recipe(f"{file}:theirs")  # imported, not its own


@pytest.mark.parametrize(
    ("name", "text", "function", "message"),
    [
        ("own_a.py", OWN, "absent", "has no recipe 'absent'.* it has mine, later, needs$"),
        ("own_b.py", OWN, "helper", "has no recipe 'helper'"),
        ("own_c.py", OWN, "_hidden", "has no recipe '_hidden'"),
        ("own_d.py", OWN, "needs", "needs width; give every argument a default"),
        ("own_e.py", "", "mine", "it has none$"),
        ("own_f.py", "import absent_module\n", "mine", "own_f.py, line 1: ModuleNotFoundError: No module named"),
        ("own_g.py", "x = 1\n\n1 / 0\n", "mine", "own_g.py, line 3: ZeroDivisionError"),
        ("own_h.py", "x = 1\ndef (\n", "mine", "own_h.py, line 2: SyntaxError"),
        ("json.py", OWN, "mine", "another Python module of the name 'json' .*; rename the file"),
        ("wave.py", OWN, "mine", "another Python module of the name 'wave' .*; rename the file"),
        ("own.txt", OWN, "mine", "own.txt: no Python file"),
    ],
)
def test_a_file_that_cannot_be_used(
    name: str, text: str, function: str, message: str, own: Callable[..., Path]
) -> None:
    file = own(name, text)
    with pytest.raises(UserError, match=message) as error:
        recipe(f"{file}:{function}")
    assert "\n" not in str(error.value)
    assert file.stem not in sys.modules or file.stem in ("json", "own_a", "own_b", "own_c", "own_d", "own_e")


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"choose one of electra_15, .*electra_large.*, or your own as file.py:function"
    ):
        recipe("electra_smal")
    with pytest.raises(UserError, match="no Python file"):
        recipe(f"{tmp_path / 'absent.py'}:mine")
