"""The options of the worker, and the settings of the client."""

import asyncio
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import temporalio.worker
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import WorkerConfig

import worker
from shared import connect
from tests.helpers import STEPS, scheduled_activities


@pytest.fixture
async def config(server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> WorkerConfig:
    """The options of the worker that ``worker.main()`` runs, until SIGTERM ends it."""
    if sys.platform == "win32":
        pytest.skip("worker.py needs Unix signals")
    configs = []

    class RecordedWorker(temporalio.worker.Worker):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            configs.append(self.config())
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(worker, "Worker", RecordedWorker)
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.client.service_client.config.target_host)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="error"):
            async with asyncio.timeout(20):
                await worker.main()
    except KeyboardInterrupt:
        pytest.fail("SIGTERM doesn't let the worker finish its activities")
    signal.signal(signal.SIGTERM, before)
    return configs[0]


async def test_worker_runs_each_activity_of_the_workflow(config: WorkerConfig) -> None:
    assert [step.__name__ for step in config["activities"]] == STEPS
    # With fewer threads, the SDK warns, and `config` turns that into an error.
    assert config["max_concurrent_activities"] == 100


async def test_grace_period_is_as_long_as_the_longest_attempt(
    config: WorkerConfig, server: WorkflowEnvironment
) -> None:
    steps = await scheduled_activities(server.client)
    timeouts = [step.start_to_close_timeout.ToTimedelta() for step in steps]
    assert config["graceful_shutdown_timeout"] == max(timeouts)


async def test_profile_is_used_despite_unknown_keys(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = server.client.service_client.config.target_host
    file = tmp_path / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "localhost:1"\n[profile.cloud.oauth]\nclient_id = "x"\n'
        f'[profile.mine]\naddress = "{address}"\nnamespace = "my-namespace"\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", "mine")
    assert (await connect()).namespace == "my-namespace"


async def test_client_sends_api_key_over_tls(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    monkeypatch.setenv("TEMPORAL_TLS", "false")
    assert (await connect()).api_key == "secret"
    monkeypatch.delenv("TEMPORAL_TLS")
    with pytest.raises(TimeoutError):  # This server has no TLS, so connect() waits.
        await asyncio.wait_for(connect(), 1)
