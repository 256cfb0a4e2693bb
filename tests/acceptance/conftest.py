"""The stages on which the scenarios run, and the lanes in which they run side by side.

A stage is a fresh copy of the sample and what its scripts need. ``stage`` is right for most; the
others are for scenarios in which the server dies, comes late, or is not there at all.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The lanes are for the slow tests of all folders, whenever this one is among those that run.
from tests.acceptance.lanes import pytest_runtestloop as pytest_runtestloop
from tests.acceptance.support import Stage, bare, hosted, staged


@pytest.fixture(scope="session")
async def _host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Provide the dev server that most stages share."""
    async with staged(tmp_path_factory.mktemp("host"), in_memory=True) as stage:
        yield stage


@pytest.fixture
async def stage(_host: Stage, tmp_path: Path) -> AsyncIterator[Stage]:
    """Provide a stage with a namespace of its own, on a dev server that must stay as it is."""
    async with hosted(tmp_path, _host) as stage:
        yield stage


@pytest.fixture
async def stage_with_own_server(tmp_path: Path) -> AsyncIterator[Stage]:
    """Provide a stage with a dev server of its own, on a database file: it may die and return."""
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
async def stage_without_server(tmp_path: Path) -> AsyncIterator[Stage]:
    """Provide a stage at whose address nothing listens, until a server is started there."""
    async with bare(tmp_path) as stage:
        yield stage
