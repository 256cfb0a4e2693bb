"""The servers that the tests run on, and an environment without the developer's settings."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.helpers import start_dev_server


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """Ignore the developer's Temporal settings, except TEMPORAL_DEBUG for breakpoints."""
    # A background job ignores Ctrl-C, and programs that it starts inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("TEMPORAL_") and name != "TEMPORAL_DEBUG":
                patch.delenv(name)
        patch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture
async def server() -> AsyncIterator[WorkflowEnvironment]:
    # If the server isn't on the PATH, the SDK downloads it.
    # start_time_skipping_v2, on the dev server, takes a second for each skip.
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=shutil.which("temporal-test-server"),
        test_server_startup_timeout=timedelta(seconds=60),
    ) as environment:
        yield environment


@pytest.fixture(scope="session")
async def dev_server() -> AsyncIterator[WorkflowEnvironment]:
    async with await start_dev_server() as environment:
        yield environment
