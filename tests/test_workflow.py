"""The workflow, on the time-skipping server: a wait of 30 seconds takes no time."""

import itertools
import logging
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity, workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner

import activities
from activities import process_payment
from shared import TASK_QUEUE, Order
from tests.helpers import ACTIVITIES, STEPS, new_order, new_worker, read_history, wait_for_event
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

Handle = WorkflowHandle[OrderFulfillment, str]
RESULT = "Order order-1 fulfilled: authorized $39.98, approved, reserved 2 x Temporal mug, "
RESULT += "delivered."


async def start(
    server: WorkflowEnvironment, order: Order | None = None, *, approved: bool = False
) -> Handle:
    """Start an order. If it is to be approved, do so before a worker runs."""
    return await server.client.start_workflow(
        OrderFulfillment.run,
        order or new_order(),
        id="order-1",
        task_queue=TASK_QUEUE,
        start_signal="approve_order" if approved else None,
        task_timeout=timedelta(seconds=1),  # when a second failure of a workflow task is seen
    )


async def failure_of(handle: Handle) -> BaseException:
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    return failed.value.cause


async def current_details(handle: Handle) -> str:
    query = "__temporal_workflow_metadata"
    metadata: WorkflowMetadata = await handle.query(query, result_type=WorkflowMetadata)
    return metadata.current_details


async def test_approved_order_is_fulfilled(server: WorkflowEnvironment) -> None:
    async with new_worker(server.client):
        handle = await start(server)
        await wait_for_event(handle, "TIMER_STARTED")
        await handle.signal(OrderFulfillment.approve_order)
        assert await handle.result() == RESULT
    assert (await read_history(handle)).activities() == STEPS


async def test_order_expires_after_30_seconds(server: WorkflowEnvironment) -> None:
    async with new_worker(server.client):
        handle = await start(server)
        error = await failure_of(handle)
    assert isinstance(error, ApplicationError)
    assert (error.message, error.type) == ("order expired", "OrderExpired")
    history = await read_history(handle)
    assert history.activities("SCHEDULED") == ["process_payment"]
    paid = history.times["ACTIVITY_TASK_COMPLETED process_payment"]
    assert 30 <= history.times["TIMER_FIRED"] - paid < 31


async def test_early_and_repeated_approval(server: WorkflowEnvironment) -> None:
    handle = await start(server, approved=True)
    await handle.signal(OrderFulfillment.approve_order)
    async with new_worker(server.client):
        assert await handle.result() == RESULT
    assert "TIMER_STARTED" not in (await read_history(handle)).events


async def test_approval_wins_over_timeout_after_downtime(server: WorkflowEnvironment) -> None:
    async with new_worker(server.client):
        handle = await start(server)
        await wait_for_event(handle, "TIMER_STARTED")
    await server.sleep(APPROVAL_TIMEOUT)
    await wait_for_event(handle, "TIMER_FIRED")
    await handle.signal(OrderFulfillment.approve_order)
    async with new_worker(server.client):
        assert await handle.result() == RESULT


async def test_canceled_order_stops_waiting(server: WorkflowEnvironment) -> None:
    async with new_worker(server.client):
        handle = await start(server)
        await wait_for_event(handle, "TIMER_STARTED")
        await handle.cancel()
        assert isinstance(await failure_of(handle), CancelledError)
        assert await current_details(handle) == ""
    assert (await read_history(handle)).activities("SCHEDULED") == ["process_payment"]


async def test_declined_payment_is_not_retried(server: WorkflowEnvironment) -> None:
    handle = await start(server, new_order(cc_expiry="12/23"), approved=True)
    async with new_worker(server.client):
        error = await failure_of(handle)
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.type == "CreditCardExpired"
    history = await read_history(handle)
    assert history.activities("SCHEDULED") == ["process_payment"]
    assert history.retries == 0


@pytest.mark.parametrize("step", STEPS)
async def test_order_survives_service_outage(server: WorkflowEnvironment, step: str) -> None:
    attempts: list[datetime] = []

    @activity.defn(name=step)
    def fail_20_times(order: Order) -> str:
        attempts.append(activity.info().current_attempt_scheduled_time)
        if len(attempts) <= 20:
            raise ConnectionError("API is down")
        result: str = getattr(activities, step)(order)
        return result

    others = [other for other in ACTIVITIES if other.__name__ != step]
    handle = await start(server, approved=True)
    async with new_worker(server.client, activities=[fail_20_times, *others]):
        assert await handle.result() == RESULT
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(attempts)]
    assert len(gaps) == 20
    assert max(gaps) < 11


@workflow.defn(name="OrderFulfillment")
class OrderFulfillmentWithBug:
    """Fails after the payment, like the README's scenario."""

    @workflow.run
    async def run(self, order: Order) -> str:
        timeout = timedelta(seconds=5)
        await workflow.execute_activity(process_payment, order, start_to_close_timeout=timeout)
        raise RuntimeError("workflow bug!")


async def test_order_survives_bug_in_workflow(server: WorkflowEnvironment) -> None:
    handle = await start(server, approved=True)
    async with new_worker(
        server.client,
        workflows=[OrderFulfillmentWithBug],
        workflow_runner=UnsandboxedWorkflowRunner(),  # which doesn't import this file again
    ):
        await wait_for_event(handle, "WORKFLOW_TASK_FAILED")
    async with new_worker(server.client):
        assert await handle.result() == RESULT
    history = await read_history(handle)
    assert set(history.failures) == {"workflow bug!"}
    assert history.activities() == STEPS


async def test_activity_timeouts_and_retry_policy(server: WorkflowEnvironment) -> None:
    handle = await start(server, approved=True)
    async with new_worker(server.client):
        await handle.result()
    steps = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    policy = RetryPolicy.from_proto(steps[0].retry_policy)
    assert policy == RetryPolicy(maximum_interval=timedelta(seconds=10))
    for step in steps:
        assert step.retry_policy == steps[0].retry_policy
        assert step.start_to_close_timeout.ToSeconds() == 5
        # Without a limit, this server writes the ten years that it gives a workflow.
        assert step.schedule_to_close_timeout.ToTimedelta() > timedelta(days=3000)


async def test_current_details_show_approval_deadline(
    server: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hour = (await server.get_current_time()).hour
    await server.sleep(timedelta(hours=(14 - hour) % 24))  # 14:00 isn't 02:00
    async with new_worker(server.client):
        handle = await start(server)
        await wait_for_event(handle, "TIMER_STARTED")
        paid = (await read_history(handle)).times["ACTIVITY_TASK_COMPLETED process_payment"]
        text = "Waiting for the signal approve_order until {:%Y-%m-%d %H:%M:%S} UTC"
        deadlines = [datetime.fromtimestamp(paid + seconds, UTC) for seconds in (30, 31)]
        assert await current_details(handle) in map(text.format, deadlines)
        assert "needs the signal approve_order by" in caplog.text
        await failure_of(handle)
        assert await current_details(handle) == ""
        # The server may still reject a workflow task's result, so the workflow doesn't log it.
        assert "expired" not in caplog.text
