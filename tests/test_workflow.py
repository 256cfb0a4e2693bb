"""What becomes of an order, on the SDK's time-skipping server: 30 s of waiting take no time."""

import itertools
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import activities
from activities import process_payment
from shared import APPROVAL_TIMEOUT, TASK_QUEUE, Order
from tests.orders import ACTIVITIES, FULFILLED, an_order, reaches, read_history
from tests.single_batch import with_single_batch
from workflow import OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

Handle = WorkflowHandle[OrderFulfillment, str]

SENTENCE = (
    "Order order-1 fulfilled: charged $39.98, approved, reserved 2 x Temporal mug, delivered."
)


class Server:
    """A server of one's own, which can be given an order and workers."""

    def __init__(self, environment: WorkflowEnvironment, *, single_batch: bool) -> None:
        """Take the environment that runs it, and whether workers have the SDK's next default."""
        self.environment, self.client = environment, environment.client
        self.single_batch = single_batch

    def worker(self, **options: Any) -> Worker:
        """Return a worker that keeps no workflow in its cache: each task replays it from the top.

        A workflow that is not deterministic so fails its order, in place of its workflow task.
        """
        settings = {
            "workflows": [OrderFulfillment],
            "activities": ACTIVITIES,
            "max_cached_workflows": 0,
            "workflow_failure_exception_types": [workflow.NondeterminismError],
        }
        worker = Worker(self.client, task_queue=TASK_QUEUE, **{**settings, **options})
        return with_single_batch(worker) if self.single_batch else worker

    async def start(
        self, *, approved: bool = False, task_timeout: timedelta | None = None, **changes: Any
    ) -> Handle:
        """Start the order, and approve it if asked to, which is for a server without a worker.

        A signal that comes in a workflow task makes it a second attempt, of which the SDK reports
        no failure: a workflow that is not deterministic would wait for ever.
        """
        order = an_order(**changes)
        handle = await self.client.start_workflow(
            OrderFulfillment.run,
            order,
            id=order.order_id,
            task_queue=TASK_QUEUE,
            task_timeout=task_timeout,
        )
        if approved:
            await handle.signal(OrderFulfillment.approve_order)
        return handle


@pytest.fixture(
    params=[
        pytest.param(False, id="default"),
        pytest.param(True, id="single batch", marks=pytest.mark.slow),
    ]
)
def server(time_skipping: WorkflowEnvironment, request: pytest.FixtureRequest) -> Server:
    """Provide the time-skipping server, for workers of today and of the SDK's next default."""
    return Server(time_skipping, single_batch=request.param)


@pytest.fixture
async def serving(server: Server) -> AsyncIterator[Server]:
    """Provide the time-skipping server with a worker."""
    async with server.worker():
        yield server


async def failure_of(handle: Handle) -> BaseException:
    """Return the error with which an order fails."""
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    return failed.value.cause


async def shown_details(handle: Handle) -> str:
    """Return what the Web UI shows as the current details of an order."""
    query = "__temporal_workflow_metadata"
    metadata: WorkflowMetadata = await handle.query(query, result_type=WorkflowMetadata)
    return metadata.current_details


async def test_approved_order_is_fulfilled(serving: Server) -> None:
    handle = await serving.start()
    await reaches(handle, "TIMER_STARTED")
    await handle.signal(OrderFulfillment.approve_order)
    assert await handle.result() == SENTENCE
    assert (await read_history(handle)).completed == FULFILLED


async def test_order_without_approval_expires(serving: Server) -> None:
    handle = await serving.start()
    error = await failure_of(handle)
    assert isinstance(error, ApplicationError)
    assert (error.message, error.type) == ("order expired", "OrderExpired")
    history = await read_history(handle)
    assert history.scheduled == {"process_payment": 1}
    assert 30 <= history.times["TIMER_FIRED"] - history.times["process_payment"] < 31


async def test_approval_before_the_payment_counts(server: Server) -> None:
    handle = await server.start(approved=True)
    async with server.worker():
        assert await handle.result() == SENTENCE
    assert (await read_history(handle)).events["TIMER_STARTED"] == 0


async def test_approval_during_the_payment_counts(server: Server) -> None:
    @activity.defn(name="process_payment")
    async def payment_that_is_approved_meanwhile(order: Order) -> str:
        handle = server.client.get_workflow_handle(order.order_id)
        await handle.signal(OrderFulfillment.approve_order)
        return await activities.process_payment(order)

    async with server.worker(activities=[payment_that_is_approved_meanwhile, *ACTIVITIES[1:]]):
        handle = await server.start()
        assert await handle.result() == SENTENCE


# With the next default this goes another way; so here it is no slow test.
@pytest.mark.parametrize("server", [False, True], ids=["default", "single batch"], indirect=True)
async def test_approval_that_comes_with_the_timeout_counts(server: Server) -> None:
    async with server.worker():
        handle = await server.start()
        await reaches(handle, "TIMER_STARTED")
    # Now there is no worker.
    await server.environment.sleep(APPROVAL_TIMEOUT)
    await reaches(handle, "TIMER_FIRED")
    await handle.signal(OrderFulfillment.approve_order)
    async with server.worker():
        assert await handle.result() == SENTENCE


async def test_second_approval_changes_nothing(server: Server) -> None:
    handle = await server.start(approved=True)
    await handle.signal(OrderFulfillment.approve_order)
    async with server.worker():
        assert await handle.result() == SENTENCE
    history = await read_history(handle)
    assert history.events["WORKFLOW_EXECUTION_SIGNALED"] == 2
    assert history.completed == FULFILLED


async def test_approval_of_an_expired_order_is_refused(serving: Server) -> None:
    handle = await serving.start()
    await failure_of(handle)
    with pytest.raises(RPCError, match=r"(?i)completed|not found"):
        await handle.signal(OrderFulfillment.approve_order)


async def test_cancelled_order_stops(serving: Server) -> None:
    handle = await serving.start()
    await reaches(handle, "TIMER_STARTED")
    await handle.cancel()
    assert isinstance(await failure_of(handle), CancelledError)
    assert (await read_history(handle)).scheduled == {"process_payment": 1}


@pytest.mark.parametrize(
    ("changes", "type_", "message"),
    [
        ({"cc_expiry": "12/23"}, "CreditCardExpired", "credit card expired, cc_expiry is 12/23"),
        ({"cc_expiry": "soon"}, "InvalidOrder", "cc_expiry must be MM/YY"),
        ({"quantity": 0}, "InvalidOrder", "quantity must be 1 to 1000000"),
    ],
)
async def test_order_that_cannot_be_charged_fails_after_one_attempt(
    serving: Server, changes: dict[str, Any], type_: str, message: str
) -> None:
    handle = await serving.start(**changes)
    error = await failure_of(handle)
    assert isinstance(error, ActivityError)
    assert isinstance(error.cause, ApplicationError)
    assert (error.cause.type, error.cause.message) == (type_, message)
    history = await read_history(handle)
    assert history.scheduled == {"process_payment": 1}
    assert history.events["ACTIVITY_TASK_STARTED"] == 1


@pytest.mark.parametrize("name", ["process_payment", "reserve_inventory", "deliver_order"])
async def test_outage_of_any_service_is_outlasted(server: Server, name: str) -> None:
    attempts = []

    @activity.defn(name=name)
    async def failing_at_first(order: Order) -> str:
        attempts.append(activity.info().current_attempt_scheduled_time)
        if len(attempts) <= 20:
            raise ConnectionError("API is down")
        result: str = await getattr(activities, name)(order)
        return result

    others = [other for other in ACTIVITIES if other.__name__ != name]
    handle = await server.start(approved=True)
    async with server.worker(activities=[failing_at_first, *others]):
        assert await handle.result() == SENTENCE
    assert len(attempts) == 21
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(attempts)]
    assert max(gaps) < 11, "an order must go on within 10 s of an outage's end"


async def test_attempt_may_take_5_s_and_is_followed_by_another_without_limit(
    server: Server,
) -> None:
    handle = await server.start(approved=True)
    async with server.worker():
        await handle.result()
    steps = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert len(steps) == 3
    for step in steps:
        assert step.start_to_close_timeout.ToSeconds() == 5
        assert step.heartbeat_timeout.ToSeconds() == 0  # none: the steps don't heartbeat
        assert step.retry_policy.initial_interval.ToSeconds() == 1
        assert step.retry_policy.backoff_coefficient == 2
        assert step.retry_policy.maximum_interval.ToSeconds() == 10
        assert step.retry_policy.maximum_attempts == 0  # no limit
        # Where the workflow sets no limit, this server writes the ten years that an order may take.
        assert step.schedule_to_start_timeout.ToTimedelta() > timedelta(days=3000)
        assert step.schedule_to_close_timeout.ToTimedelta() > timedelta(days=3000)


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


async def test_bug_is_survived(server: Server) -> None:
    # After its second failure a workflow task is made again only when it times out.
    handle = await server.start(approved=True, task_timeout=timedelta(seconds=1))
    # Unsandboxed: this file's imports do not belong in the sandbox.
    buggy = {"workflows": [OrderFulfillmentWithBug], "workflow_runner": UnsandboxedWorkflowRunner()}
    async with server.worker(**buggy):
        await reaches(handle, "WORKFLOW_TASK_FAILED")
    async with server.worker():
        assert await handle.result() == SENTENCE
    history = await read_history(handle)
    assert history.failed_task_messages == ["workflow bug!"]
    assert history.completed == FULFILLED


async def test_deadline_that_is_shown_counts_from_the_payment(server: Server) -> None:
    @activity.defn(name="process_payment")
    async def payment_after_7_seconds(order: Order) -> str:
        if activity.info().attempt <= 3:  # retried after 1, 2 and 4 s
            raise ConnectionError("API is down")
        return await activities.process_payment(order)

    now = await server.environment.get_current_time()
    await server.environment.sleep(timedelta(hours=(14 - now.hour) % 24))  # 14 h, not 2 h
    async with server.worker(activities=[payment_after_7_seconds, *ACTIVITIES[1:]]):
        handle = await server.start()
        await server.environment.sleep(10)
        await reaches(handle, "TIMER_STARTED")
        shown = re.findall(r"\d\d:\d\d:\d\d", await shown_details(handle))
    paid = (await read_history(handle)).times["process_payment"]
    deadlines = [datetime.fromtimestamp(paid + seconds, UTC) for seconds in (30, 31)]
    assert shown in [[f"{deadline:%H:%M:%S}"] for deadline in deadlines]


async def test_order_says_that_it_waits(serving: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    handle = await serving.start()
    await reaches(handle, "TIMER_STARTED")
    assert "approve_order" in await shown_details(handle)
    assert "waiting" in caplog.text
    await failure_of(handle)
    assert not await shown_details(handle)


async def test_order_that_is_approved_does_not_say_that_it_waits(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    handle = await server.start(approved=True)
    async with server.worker():
        await handle.result()
        assert not await shown_details(handle)
    assert "waiting" not in caplog.text
