"""A copy of the sample, with a dev server for each test."""

import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.helpers import Sample, copy_sample

# A background job ignores Ctrl-C and Ctrl-\, and so do the programs that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def free_port() -> int:
    """Return a port below the ephemeral ones: another program could take one of those."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("localhost", port)):
            return port
    raise AssertionError("none of 100 ports is free")


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[Sample]:
    """A copy of the sample with a user's environment. Its server isn't started yet."""
    dropped = ("TEMPORAL_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_PROJECT", "FORCE_COLOR")
    environment = {key: os.environ[key] for key in os.environ if not key.startswith(dropped)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["TEMPORAL_CONFIG_FILE"] = os.devnull
    environment["TEMPORAL_ADDRESS"] = f"localhost:{free_port()}"
    sample = Sample(copy_sample(tmp_path / "sample"), environment)
    yield sample
    await sample.stop()


@pytest.fixture
async def sample(own_server: Sample) -> Sample:
    """A copy of the sample with a running server."""
    await own_server.serve()
    return own_server
