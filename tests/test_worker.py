"""The options of the worker that ``worker.py`` runs, and of its activities."""

import asyncio
import logging
import signal
import warnings
from datetime import timedelta

import pytest
import temporalio.worker
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import WorkerConfig

import worker
from shared import TASK_QUEUE
from tests.helpers import RESULTS, new_worker, start
from workflow import OrderFulfillment


@pytest.fixture
async def config(address: str, monkeypatch: pytest.MonkeyPatch) -> WorkerConfig:
    """The options of the worker that ``worker.main()`` runs, until SIGTERM ends it."""
    configs: list[WorkerConfig] = []

    class RecordedWorker(temporalio.worker.Worker):
        async def __aenter__(self) -> temporalio.worker.Worker:
            configs.append(self.config())
            signal.raise_signal(signal.SIGTERM)
            return await super().__aenter__()

    monkeypatch.setattr(worker, "Worker", RecordedWorker)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            # The SDK warns if there are fewer threads than concurrent activities.
            warnings.filterwarnings("error", message=".*max_workers")
            async with asyncio.timeout(20):
                await worker.main()
    except KeyboardInterrupt:  # what SIGTERM raises until the worker runs
        pytest.fail("SIGTERM doesn't let the worker finish its activities")
    finally:
        signal.signal(signal.SIGTERM, before)
    return configs[0]


async def test_worker_runs_each_activity_of_the_workflow(
    config: WorkerConfig, server: WorkflowEnvironment
) -> None:
    assert {step.__name__ for step in config["activities"]} == set(RESULTS)
    assert (config["workflows"], config["task_queue"]) == ([OrderFulfillment], TASK_QUEUE)
    assert config["client"].data_converter == server.client.data_converter


async def scheduled(client: Client) -> list[ActivityTaskScheduledEventAttributes]:
    """Run an approved order. Return its scheduled activities with their options."""
    order = await start(client, seconds=100_000)  # The server caps timeouts at this.
    await order.signal(OrderFulfillment.approve_order)
    async with new_worker(client):
        await order.result()
    history = await order.fetch_history()
    activities = [event.activity_task_scheduled_event_attributes for event in history.events]
    return [activity for activity in activities if activity.activity_type.name]


async def test_activity_timeouts_and_retry_policy(
    config: WorkerConfig, server: WorkflowEnvironment
) -> None:
    for activity in await scheduled(server.client):
        name, timeout = activity.activity_type.name, activity.start_to_close_timeout.ToTimedelta()
        assert timeout == timedelta(seconds=5), name
        assert config["graceful_shutdown_timeout"] >= timeout, f"{name} takes up to {timeout}"
        policy = RetryPolicy.from_proto(activity.retry_policy)
        assert policy == RetryPolicy(maximum_interval=timedelta(seconds=10)), name
        # Without a limit, this server records the workflow's timeout.
        for limit in (activity.schedule_to_close_timeout, activity.schedule_to_start_timeout):
            assert limit.ToSeconds() >= 100_000, f"{name} is limited to {limit}"
        assert activity.heartbeat_timeout.ToSeconds() == 0, f"{name} has a heartbeat timeout"


def test_log_line_is_printable_and_the_record_is_unchanged() -> None:
    order = {"workflow_id": "order-1", "activity_type": "deliver_order", "attempt": 2}
    record = logging.makeLogRecord({"msg": "\x1b[31m ü", "temporal_activity": order, "created": 0})
    record.exc_info = ConnectionError, ConnectionError("down\n"), None
    before = {**vars(record)}
    line = worker.OneLineFormatter(datefmt="%Y").format(record)
    assert line == r"'1970 order-1 deliver_order attempt 2 \x1b[31m ü: ConnectionError: down\n'"
    assert vars(record) == before
