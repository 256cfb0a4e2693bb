"""The workflow, on the time-skipping server: a wait of 30 seconds takes no time."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

from tests.helpers import (
    STEPS,
    Handle,
    new_worker,
    read_history,
    result_of,
    run_order,
    scheduled_activities,
    start,
    wait_for_event,
)
from workflow import OrderFulfillment

FULFILLED = "Order order-1 fulfilled: authorized $39.98, approved, "
FULFILLED += "reserved 2 x Temporal mug, delivered."
# Expected result or failure, and completed steps: cases in the format of run_order()
CASES = {
    ("OrderExpired: order expired", 1): [
        "wait: nothing",
        "downtime: nothing",
        "process_payment: fail",
    ],
    ("CreditCardExpired: expired", 0): ["process_payment: decline"],
    (FULFILLED, len(STEPS)): [
        "start: approve; reserve_inventory: approve; deliver_order: approve",
        "process_payment: approve",
        "wait: approve; reserve_inventory: fail",
        "wait: approve; deliver_order: cancel",
        "start: approve; deliver_order: fail, cancel",
        "downtime: approve; reserve_inventory: fail; deliver_order: cancel",
    ],
    ("canceled", 0): ["start: cancel", "process_payment: cancel"],
    ("canceled", 1): [
        "wait: cancel",
        "wait: approve; reserve_inventory: cancel",
        "downtime: cancel",
        "downtime: approve, cancel",
    ],
}


async def test_approved_order_is_fulfilled(server: WorkflowEnvironment) -> None:
    async with new_worker(server.client):
        handle = await start(server.client)
        await handle.signal(OrderFulfillment.approve_order)
        assert await result_of(handle) == FULFILLED


@pytest.mark.parametrize(
    ("case", "ending", "completed"),
    [(case, *expected) for expected, cases in CASES.items() for case in cases],
)
async def test_outcome(server: WorkflowEnvironment, case: str, ending: str, completed: int) -> None:
    handle, ended = await run_order(server, "order-1", case)
    history = await read_history(handle)
    assert (ended, len(history.activities())) == (ending, completed)
    for state in ("SCHEDULED", "COMPLETED"):
        assert history.activities(state) == STEPS[: len(history.activities(state))]
    if len(history.activities("SCHEDULED")) > STEPS.index("reserve_inventory"):
        reserved = history.events.index("ACTIVITY_TASK_SCHEDULED reserve_inventory")
        assert history.events.index("WORKFLOW_EXECUTION_SIGNALED") < reserved


async def current_details(handle: Handle) -> str:
    query = "__temporal_workflow_metadata"
    metadata: WorkflowMetadata = await handle.query(query, result_type=WorkflowMetadata)
    return metadata.current_details


async def test_order_waits_for_30_seconds_and_says_so(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hour = (await server.get_current_time()).hour
    await server.sleep(timedelta(hours=(14 - hour) % 24))  # afternoon, to catch a 12-hour format
    async with new_worker(server.client):
        handle = await start(server.client)
        await wait_for_event(handle, "TIMER_STARTED")
        paid = (await read_history(handle)).times["ACTIVITY_TASK_COMPLETED process_payment"]
        wait = "waits up to 30 s for the signal approve_order"
        text = f"The order {wait}, until {{:%Y-%m-%d %H:%M:%S}} UTC"
        deadlines = [datetime.fromtimestamp(paid + seconds, UTC) for seconds in range(30, 35)]
        assert await current_details(handle) in map(text.format, deadlines)
        assert wait in caplog.text
        with pytest.raises(WorkflowFailureError):
            await result_of(handle)
        assert await current_details(handle) == ""
    assert 30 <= (await read_history(handle)).times["TIMER_FIRED"] - paid < 35


async def test_activity_timeouts_and_retry_policy(server: WorkflowEnvironment) -> None:
    for step in await scheduled_activities(server.client):
        name = step.activity_type.name
        policy = RetryPolicy.from_proto(step.retry_policy)
        assert policy == RetryPolicy(maximum_interval=timedelta(seconds=10)), name
        assert step.start_to_close_timeout.ToTimedelta() == timedelta(seconds=5), name
        # Without a limit, this server records the workflow's timeout.
        for limit in (step.schedule_to_close_timeout, step.schedule_to_start_timeout):
            assert limit.ToSeconds() >= 100_000, f"{name} is limited to {limit}"
        assert step.heartbeat_timeout.ToSeconds() == 0, f"{name} sends no heartbeat"
