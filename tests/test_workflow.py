"""What becomes of an order, on the SDK's time-skipping server."""

import itertools
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
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
from shared import Order
from tests.orders import ACTIVITIES, FULFILLED, an_order, read_history, until
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
        """Return a worker that caches nothing: each workflow task replays from the first event.

        So a workflow that is not deterministic fails its order here.
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


def sentence(handle: Handle) -> str:
    """Return the result of a fulfilled order."""
    done = "charged $39.98, approved, reserved 2 x Temporal mug, delivered"
    return f"Order {handle.id} fulfilled: {done}."


async def test_approved_order_is_fulfilled(served: Orders) -> None:
    handle = await served.start()

    async def paid() -> bool:
        return (await read_history(handle)).completed["process_payment"] == 1

    await until(paid, 10, "payment")
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

    async def waits() -> bool:
        return (await read_history(handle)).events["TIMER_STARTED"] == 1

    await until(waits, 10, "wait for approval")
    await handle.cancel()
    error = await failure_of(handle)
    assert isinstance(error, CancelledError)
    assert error.message == "Workflow cancelled"
    assert (await read_history(handle)).scheduled == {"process_payment": 1}


async def test_approval_counts_that_is_seen_only_with_the_timeout(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's SDK applies a signal before a timer of the same task; no order may depend on it."""
    wait_condition = workflow.wait_condition

    async def time_out_when_approved(condition: Callable[[], bool], **_: Any) -> None:
        await wait_condition(condition)
        raise TimeoutError

    monkeypatch.setattr(workflow, "wait_condition", time_out_when_approved)
    async with orders.worker(workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await orders.start()
        await handle.signal(OrderFulfillment.approve_order)
        assert await handle.result() == sentence(handle)
