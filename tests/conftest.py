"""What holds for every test: threads, seeds, no network, and the shapes in the signatures checked.

The lines at the top run before anything imports electrain, and their order matters: the environment first (torch reads
the number of threads when it is imported, child processes inherit it), then the import hook that checks every signature
of electrain against what really comes in. ELECTRAIN_TYPECHECK=0 turns the hook off.
"""

import math
import os
import random
import time

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
THREADS = max(1, (os.cpu_count() or 1) // WORKERS)
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of compilers a worker would starve the tests
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for offline in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ.setdefault(offline, "1")
os.environ.setdefault("WANDB_MODE", "offline")

import hypothesis  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

if os.environ.get("ELECTRAIN_TYPECHECK", "1") != "0":
    jaxtyping.install_import_hook("electrain", "beartype.beartype")

    class EagerOnly(type(jaxtyping.config)):
        """Checks are off while torch.compile traces: it cannot look into them, and a tensor has no value there."""

        unchecked = False

        @property
        def jaxtyping_disable(self) -> bool:
            """True while something is being compiled, and where a test has switched the checks off."""
            return self.unchecked or torch.compiler.is_compiling()

    jaxtyping.config.__class__ = EagerOnly

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# The same examples on every run and no deadline: a busy machine must not fail a test.
hypothesis.settings.register_profile("electrain", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("electrain")


BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds", type=float, default=math.inf, help="skip what has not begun after so many seconds")
    parser.addoption("--shuffle", type=int, help="the order of the tests, by a number: with --seconds, which are made")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("--shuffle")) is not None:
        random.Random(seed).shuffle(items)


@pytest.fixture(autouse=True)
def in_time(pytestconfig: pytest.Config) -> None:
    """Skips a test for which no time is left; what is skipped so is counted and named at the end."""
    if time.monotonic() - BEGAN > pytestconfig.getoption("--seconds"):
        pytest.skip("no time left (--seconds)")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are not checked: for trainings whose every call other tests make, which take half as long again."""
    monkeypatch.setattr(type(jaxtyping.config), "unchecked", True, raising=False)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random numbers, alone or among others, in any order."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
