"""A copy of the sample, with a dev server for each test."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.helpers import Sample, clean_environment, copy_sample


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[Sample]:
    """A copy of the sample whose server isn't started yet."""
    # Below the ephemeral ports: another program could take one of those.
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("localhost", port)):
            break  # It is free.
    environment = clean_environment(TEMPORAL_ADDRESS=f"localhost:{port}")
    sample = Sample(copy_sample(tmp_path / "sample"), environment)
    yield sample
    await sample.stop()


@pytest.fixture
async def sample(own_server: Sample) -> Sample:
    """A copy of the sample with a running server."""
    await own_server.serve()
    return own_server
