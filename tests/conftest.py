"""The server that the tests run on, and an environment without the developer's settings."""

import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.helpers import find_program


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """Ignore the developer's Temporal settings, except TEMPORAL_DEBUG for breakpoints."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("TEMPORAL_") and name != "TEMPORAL_DEBUG":
                patch.delenv(name)
        patch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """A new time-skipping server: a wait of 30 seconds takes no time on it."""
    # start_time_skipping_v2, on the dev server, takes a second for each skip.
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=find_program("temporal-test-server"),
        test_server_startup_timeout=timedelta(seconds=60),
    ) as environment:
        yield environment


@pytest.fixture
def address(server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, also in TEMPORAL_ADDRESS for worker.py and starter.py."""
    target_host = server.client.service_client.config.target_host
    monkeypatch.setenv("TEMPORAL_ADDRESS", target_host)
    return target_host
