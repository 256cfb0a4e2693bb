"""The servers of the tests: ``time_skipping`` is new for each test, the others are shared."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig
from temporalio.testing import WorkflowEnvironment

import activities


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep the Temporal settings of the person who runs the tests out, and the core quiet."""
    # A shell that starts the tests in the background has Ctrl-C ignored, in their processes too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    quiet = TelemetryConfig(logging=LoggingConfig(filter="ERROR"))
    Runtime.set_default(Runtime(telemetry=quiet), error_if_already_set=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
            patch.delenv(name)
        patch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture
def _no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the activities of this process take no time."""
    monkeypatch.setattr(activities, "SIMULATED_LATENCY_SECONDS", 0)


Servers = list[asyncio.Task[WorkflowEnvironment]]


def start_time_skipping() -> asyncio.Task[WorkflowEnvironment]:
    """Start an SDK test server, in the background."""
    server = shutil.which("temporal-test-server")
    return asyncio.create_task(
        WorkflowEnvironment.start_time_skipping(test_server_existing_path=server)
    )


@pytest.fixture(scope="session")
async def spare_servers() -> AsyncIterator[Servers]:
    """Provide a server that was started before it is needed."""
    servers = [start_time_skipping()]
    yield servers
    await (await servers.pop()).shutdown()


@pytest.fixture
async def time_skipping(spare_servers: Servers) -> AsyncIterator[WorkflowEnvironment]:
    """Provide an SDK test server of one's own: its clock jumps by years when all is done."""
    spare_servers.append(start_time_skipping())
    async with await spare_servers.pop(0) as environment:
        yield environment


@pytest.fixture(scope="session")
async def shared_time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """Provide an SDK test server for many orders: when its clock skips, it does so for all."""
    async with await start_time_skipping() as environment:
        yield environment


@pytest.fixture(scope="session")
async def dev_server() -> AsyncIterator[WorkflowEnvironment]:
    """Provide a dev server for tests whose workers run in this process."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
    ) as environment:
        yield environment


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many orders ended as the model of ``test_interleavings.py`` says."""
    passed = terminalreporter.stats.get("passed", [])
    number = sum(report.nodeid.startswith("tests/test_interleavings.py") for report in passed)
    if number:
        terminalreporter.write_line(
            f"{number} orders ended as the model says, each with other choices"
        )


_status = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep the exit status for the end."""
    global _status
    _status = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without the interpreter's shutdown, as the scripts do (see ``shared.run``)."""
    config.get_terminal_writer().flush()
    sys.stdout.flush()
    os._exit(_status)
