"""What becomes of an order, on the SDK's time-skipping server."""

import itertools
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
)
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import activities
from activities import process_payment
from shared import APPROVAL_TIMEOUT, Order
from tests.orders import ACTIVITIES, FULFILLED, an_order, read_history, until, with_single_batch
from workflow import OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

Handle = WorkflowHandle[OrderFulfillment, str]


class Orders:
    """Starts orders on a task queue of their own."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        """Take the server to use."""
        self.environment = environment
        self.task_queue = str(uuid4())

    def worker(self, **options: Any) -> Worker:
        """Return a worker that keeps nothing in mind: each workflow task begins with a replay.

        A workflow that is not deterministic then fails its order, here at once.
        """
        common = {
            "workflows": [OrderFulfillment],
            "activities": ACTIVITIES,
            "max_cached_workflows": 0,
            "workflow_failure_exception_types": [workflow.NondeterminismError],
        }
        client = self.environment.client
        return Worker(client, task_queue=self.task_queue, **{**common, **options})

    async def start(self, task_timeout: float = 10, **changes: Any) -> Handle:
        """Start an order."""
        order = an_order(f"order-{uuid4()}", **changes)
        return await self.environment.client.start_workflow(
            OrderFulfillment.run,
            order,
            id=order.order_id,
            task_queue=self.task_queue,
            task_timeout=timedelta(seconds=task_timeout),
        )


@pytest.fixture
def orders(time_skipping: WorkflowEnvironment) -> Orders:
    """Provide orders on the time-skipping server."""
    return Orders(time_skipping)


@pytest.fixture
async def served(orders: Orders) -> AsyncIterator[Orders]:
    """Provide orders with a worker."""
    async with orders.worker():
        yield orders


async def failure_of(handle: Handle) -> BaseException:
    """Return the error with which an order fails."""
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    return failed.value.cause


async def reaches(handle: Handle, event: str) -> None:
    """Wait until the event history of an order has an event of a kind."""

    async def reached() -> bool:
        return (await read_history(handle)).events[event] > 0

    await until(reached, 20, event)


async def shown_details(handle: Handle) -> str:
    """Return what the Web UI shows as the current details of an order."""
    query = "__temporal_workflow_metadata"
    metadata: WorkflowMetadata = await handle.query(query, result_type=WorkflowMetadata)
    return metadata.current_details


def sentence(handle: Handle) -> str:
    """Return the result of a fulfilled order."""
    done = "charged $39.98, approved, reserved 2 x Temporal mug, delivered"
    return f"Order {handle.id} fulfilled: {done}."


async def test_approved_order_is_fulfilled(served: Orders) -> None:
    handle = await served.start()
    await reaches(handle, "TIMER_STARTED")
    await handle.signal(OrderFulfillment.approve_order)
    assert await handle.result() == sentence(handle)
    assert (await read_history(handle)).completed == FULFILLED


async def test_order_without_approval_expires(served: Orders) -> None:
    handle = await served.start()
    error = await failure_of(handle)
    assert isinstance(error, ApplicationError)
    assert (error.message, error.type) == ("order expired", "OrderExpired")
    history = await read_history(handle)
    assert history.scheduled == {"process_payment": 1}
    waited = history.times["TIMER_FIRED"] - history.times["process_payment"]
    assert 30 <= waited < 31


async def test_approval_before_the_payment_counts(orders: Orders) -> None:
    handle = await orders.start()
    await handle.signal(OrderFulfillment.approve_order)
    async with orders.worker():
        assert await handle.result() == sentence(handle)
    assert (await read_history(handle)).events["TIMER_FIRED"] == 0


async def test_approval_during_the_payment_counts(orders: Orders) -> None:
    @activity.defn(name="process_payment")
    async def payment_that_is_approved_meanwhile(order: Order) -> str:
        client = orders.environment.client
        await client.get_workflow_handle(order.order_id).signal(OrderFulfillment.approve_order)
        return await activities.process_payment(order)

    async with orders.worker(activities=[payment_that_is_approved_meanwhile, *ACTIVITIES[1:]]):
        handle = await orders.start()
        assert await handle.result() == sentence(handle)


async def test_second_approval_changes_nothing(orders: Orders) -> None:
    handle = await orders.start()
    for _ in range(2):
        await handle.signal(OrderFulfillment.approve_order)
    async with orders.worker():
        assert await handle.result() == sentence(handle)
    history = await read_history(handle)
    assert history.events["WORKFLOW_EXECUTION_SIGNALED"] == 2
    assert history.completed == FULFILLED


async def test_approval_after_expiry_is_refused(served: Orders) -> None:
    handle = await served.start()
    await failure_of(handle)
    with pytest.raises(RPCError, match=r"(?i)completed|not found"):
        await handle.signal(OrderFulfillment.approve_order)


@pytest.mark.parametrize(
    ("changes", "type_", "message"),
    [
        ({"cc_expiry": "12/23"}, "CreditCardExpired", "credit card expired, cc_expiry is 12/23"),
        ({"cc_expiry": "soon"}, "InvalidOrder", "cc_expiry must be MM/YY"),
        ({"quantity": 0}, "InvalidOrder", "quantity must be 1 to 1000000"),
    ],
)
async def test_order_that_cannot_be_charged_fails_after_one_attempt(
    served: Orders, changes: dict[str, Any], type_: str, message: str
) -> None:
    handle = await served.start(**changes)
    error = await failure_of(handle)
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)
    assert (error.cause.type, error.cause.message) == (type_, message)
    history = await read_history(handle)
    assert history.scheduled == {"process_payment": 1}
    assert history.events["ACTIVITY_TASK_STARTED"] == 1


@pytest.mark.parametrize("name", ["process_payment", "reserve_inventory", "deliver_order"])
async def test_outage_of_any_service_is_outlasted(orders: Orders, name: str) -> None:
    attempts = []

    @activity.defn(name=name)
    async def failing_at_first(order: Order) -> str:
        attempts.append(activity.info().current_attempt_scheduled_time)
        if len(attempts) <= 20:
            raise ConnectionError("API is down")
        result: str = await getattr(activities, name)(order)
        return result

    others = [other for other in ACTIVITIES if other.__name__ != name]
    handle = await orders.start()
    await handle.signal(OrderFulfillment.approve_order)
    async with orders.worker(activities=[failing_at_first, *others]):
        assert await handle.result() == sentence(handle)
    assert len(attempts) == 21
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(attempts)]
    assert max(gaps) < 11, "an order must go on within 10 s of an outage's end"


@workflow.defn(name="OrderFulfillment")
class OrderFulfillmentWithBug:
    """Fails after the payment, as the README's scenario does."""

    @workflow.run
    async def run(self, order: Order) -> str:
        """Pay, then fail."""
        await workflow.execute_activity(
            process_payment, order, start_to_close_timeout=timedelta(seconds=5)
        )
        raise RuntimeError("workflow bug!")


async def test_bug_is_survived(orders: Orders) -> None:
    # From its third attempt on, a workflow task that fails is retried only when it times out.
    handle = await orders.start(task_timeout=1)
    await handle.signal(OrderFulfillment.approve_order)
    # Unsandboxed: this file's imports do not belong in the sandbox.
    buggy = {"workflows": [OrderFulfillmentWithBug], "workflow_runner": UnsandboxedWorkflowRunner()}
    async with orders.worker(**buggy):

        async def failed() -> list[str]:
            return (await read_history(handle)).failed_task_messages

        assert await until(failed, 10, "failed workflow task") == ["workflow bug!"]
    async with orders.worker():
        assert await handle.result() == sentence(handle)
    assert (await read_history(handle)).completed == FULFILLED


async def test_cancelled_order_stops(served: Orders) -> None:
    handle = await served.start()
    await reaches(handle, "TIMER_STARTED")
    await handle.cancel()
    error = await failure_of(handle)
    assert isinstance(error, CancelledError)
    assert error.message == "Workflow cancelled"
    assert (await read_history(handle)).scheduled == {"process_payment": 1}


@pytest.mark.parametrize("single_batch", [False, True])
async def test_approval_that_comes_with_the_timeout_counts(
    orders: Orders, single_batch: bool
) -> None:
    handle = await orders.start()
    async with orders.worker():
        await reaches(handle, "TIMER_STARTED")
    await orders.environment.sleep(APPROVAL_TIMEOUT)
    await reaches(handle, "TIMER_FIRED")
    await handle.signal(OrderFulfillment.approve_order)
    worker = orders.worker()
    async with with_single_batch(worker) if single_batch else worker:
        assert await handle.result() == sentence(handle)


async def test_attempt_may_take_5_s_and_there_is_always_a_next_one(orders: Orders) -> None:
    handle = await orders.start()
    await handle.signal(OrderFulfillment.approve_order)
    async with orders.worker():
        await handle.result()
    steps = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert len(steps) == 3
    for step in steps:
        assert step.start_to_close_timeout.seconds == 5
        assert step.retry_policy.initial_interval.seconds == 1
        assert step.retry_policy.backoff_coefficient == 2
        assert step.retry_policy.maximum_interval.seconds == 10
        assert step.retry_policy.maximum_attempts == 0  # no limit
        # Where there is no limit, this server writes its own, ten years.
        assert step.schedule_to_start_timeout.ToTimedelta() > timedelta(days=3000)
        assert step.schedule_to_close_timeout.ToTimedelta() > timedelta(days=3000)


async def test_deadline_that_is_shown_counts_from_the_payment(orders: Orders) -> None:
    @activity.defn(name="process_payment")
    async def late_payment(order: Order) -> str:
        if activity.info().attempt <= 3:  # which takes 7 s
            raise ConnectionError("API is down")
        return await activities.process_payment(order)

    async with orders.worker(activities=[late_payment, *ACTIVITIES[1:]]):
        handle = await orders.start()
        await orders.environment.sleep(10)
        await reaches(handle, "TIMER_STARTED")
        shown = re.search(r"\d\d:\d\d:\d\d", await shown_details(handle))
    paid = (await read_history(handle)).times["process_payment"]
    deadlines = [datetime.fromtimestamp(paid + 30 + more, UTC) for more in (0, 1)]
    assert shown
    assert shown[0] in [f"{deadline:%H:%M:%S}" for deadline in deadlines]


@pytest.mark.parametrize("approved", [False, True])
async def test_only_an_order_that_waits_says_so(
    orders: Orders, caplog: pytest.LogCaptureFixture, approved: bool
) -> None:
    caplog.set_level(logging.INFO)
    handle = await orders.start()
    if approved:
        await handle.signal(OrderFulfillment.approve_order)
    async with orders.worker():
        await reaches(handle, "TIMER_STARTED" if not approved else "WORKFLOW_EXECUTION_COMPLETED")
        assert bool(await shown_details(handle)) is not approved
        assert ("waiting" in caplog.text) is not approved
        if not approved:
            await failure_of(handle)
            assert not await shown_details(handle)
