"""The small world of benchmarks/faults.py, once for all tests here."""

import pytest

from benchmarks.faults.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("faults"))
