"""A stub for the activities, an order, a worker to run it, and what its event history says."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as OrderTimeoutError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from shared import TASK_QUEUE, Order
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

# What each activity returns for new_order(). Only test_activities.py runs the real activities.
RESULTS = {
    "process_payment": "authorized $39.98",
    "reserve_inventory": "reserved 2 x Temporal mug",
    "deliver_order": "delivered",
}
STEPS = list(RESULTS)
HISTORIES = Path(__file__).parent / "histories"
# The cases that record_histories.py records, in the format of run_order()
RECORDED = {
    "approved_early": "start: approve",
    "approved_late": "downtime: approve",
    "canceled": "wait: cancel",
    "declined": "process_payment: decline",
    "expired": "wait: nothing",
    "fulfilled": "wait: approve",
    "outage": "wait: approve; reserve_inventory: fail",
}

Handle = WorkflowHandle[OrderFulfillment, str]


async def start_dev_server() -> WorkflowEnvironment:
    """Start the dev server of the CLI on the PATH, or of one that the SDK downloads."""
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"),
        dev_server_log_level="never",
        dev_server_startup_timeout=timedelta(seconds=60),
    )


def new_order(order_id: str = "order-1", **changes: Any) -> Order:
    """Return an order that can be fulfilled, except for the changes."""
    fields = {"item": "Temporal mug", "quantity": 2, "price": "19.99", "cc_expiry": "12/99"}
    return Order(**{"order_id": order_id, **fields, **changes})


def new_worker(client: Client, act: Callable[[str], Awaitable[None]] | None = None) -> Worker:
    """Return a worker with one stub for all activities. The stub gives ``act`` the activity's name.

    The worker replays the event history at each workflow task. Any workflow error fails the order.
    """

    @activity.defn(dynamic=True)
    async def stub(_: Sequence[RawValue]) -> str:
        name = activity.info().activity_type
        if name not in RESULTS:
            raise ApplicationError(f"add {name} to RESULTS in helpers.py", non_retryable=True)
        if act:
            await act(name)
        return RESULTS[name]

    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[stub],
        max_cached_workflows=0,
        workflow_failure_exception_types=[Exception],
    )


async def start(client: Client, order_id: str = "order-1", seconds: float = 20) -> Handle:
    """Start an order that times out after APPROVAL_TIMEOUT plus some seconds."""
    return await client.start_workflow(
        OrderFulfillment.run,
        new_order(order_id),
        id=order_id,
        task_queue=TASK_QUEUE,
        execution_timeout=APPROVAL_TIMEOUT + timedelta(seconds=seconds),
    )


async def result_of(handle: Handle) -> str:
    """Return the result of an order. If it timed out, say which activity it waited for."""
    try:
        return await handle.result()
    except WorkflowFailureError as failure:
        if isinstance(failure.cause, OrderTimeoutError):
            history = await read_history(handle)
            waiting = set(history.activities("SCHEDULED")) - set(history.activities())
            raise AssertionError(f"{handle.id} waited for {waiting or 'a worker'}") from failure
        raise


async def scheduled_activities(client: Client) -> list[ActivityTaskScheduledEventAttributes]:
    """Run an order, and return its activities with their options."""
    handle = await start(client, seconds=100_000)  # The server caps timeouts at this.
    await handle.signal(OrderFulfillment.approve_order)
    async with new_worker(client):
        await result_of(handle)
    return [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]


async def run_order(server: WorkflowEnvironment, order_id: str, case: str) -> tuple[Handle, str]:
    """Run an order through a case. Return its handle, and its result or failure.

    A case like "wait: approve; deliver_order: fail, cancel" names moments and actions. The moments
    are "start" (no worker runs yet), a step, "wait" (for the approval), and "downtime" (no worker
    runs, and the time for the approval is over). A failing step fails three times.
    """
    happens = dict(part.split(": ") for part in case.split("; "))
    unknown = set(happens) - {"start", "wait", "downtime", *STEPS}
    assert not unknown, f"{case!r} has unknown moments: {unknown}"

    async def act(moment: str) -> None:
        for action in happens.get(moment, "nothing").split(", "):
            match action:
                case "approve":
                    await handle.signal(OrderFulfillment.approve_order)
                case "cancel":
                    await handle.cancel()
                    if moment in STEPS:
                        await wait_for_event(handle, f"ACTIVITY_TASK_CANCEL_REQUESTED {moment}")
                case "decline":
                    raise ApplicationError("expired", type="CreditCardExpired", non_retryable=True)
                case "fail" if activity.info().attempt <= 3:
                    raise ConnectionError("API is down")

    handle = await start(server.client, order_id)
    await act("start")
    if "downtime" in happens:
        async with new_worker(server.client, act):
            await wait_for_event(handle, "TIMER_STARTED")
        await server.sleep(APPROVAL_TIMEOUT)
        await wait_for_event(handle, "TIMER_FIRED")
        await act("downtime")
    async with new_worker(server.client, act):
        if "wait" in happens:
            await wait_for_event(handle, "TIMER_STARTED")
            await act("wait")
        try:
            return handle, await result_of(handle)
        except WorkflowFailureError as failure:
            cause = failure.cause.__cause__ or failure.cause
            return handle, "canceled" if isinstance(cause, CancelledError) else str(cause)


@dataclass
class History:
    """What the event history of an order says."""

    events: list[str]  # like "TIMER_FIRED" and "ACTIVITY_TASK_COMPLETED deliver_order"
    times: dict[str, float]  # of the first event of each name, in seconds

    def activities(self, state: str = "COMPLETED") -> list[str]:
        """Return the activities that were scheduled, started or completed, in order."""
        prefix = f"ACTIVITY_TASK_{state} "
        return [event.removeprefix(prefix) for event in self.events if event.startswith(prefix)]


async def read_history(handle: WorkflowHandle[Any, Any]) -> History:
    history, steps = History([], {}), {}
    async for event in handle.fetch_history_events():
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        if name == "ACTIVITY_TASK_SCHEDULED":
            steps[event.event_id] = attributes.activity_type.name
        if name.startswith("ACTIVITY_TASK_"):
            name += " " + steps[getattr(attributes, "scheduled_event_id", event.event_id)]
        history.events.append(name)
        history.times.setdefault(name, event.event_time.ToNanoseconds() / 1e9)
    return history


async def wait_for_event(handle: WorkflowHandle[Any, Any], event: str, seconds: float = 15) -> None:
    """Wait for an event. The time-skipping server has no ``wait_new_event``, so this polls."""
    deadline = time.monotonic() + seconds
    while event not in (history := await read_history(handle)).events:
        assert time.monotonic() < deadline, f"{handle.id}: no {event} after {history.events[-3:]}"
        await asyncio.sleep(0.05)
