"""A sample order, a worker with stubbed activities, and helpers to read the event history."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, Order
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

# The steps of the workflow, and what each returns for new_order()
RESULTS = {
    process_payment.__name__: "authorized $39.98",
    reserve_inventory.__name__: "reserved 2 x Temporal mug",
    deliver_order.__name__: "delivered",
}
FIRST = "WORKFLOW_EXECUTION_STARTED"
CLOSED = {f"WORKFLOW_EXECUTION_{how}" for how in ("COMPLETED", "FAILED", "CANCELED", "TIMED_OUT")}

Handle = WorkflowHandle[OrderFulfillment, str]


def find_program(name: str) -> str | None:
    """Find a program next to this Python or on the PATH. Without one, the SDK downloads its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return shutil.which(name, path=path)


def new_order(**changes: object) -> Order:
    """Return a valid order with the given fields changed."""
    item = {"item": "Temporal mug", "quantity": 2, "price": "19.99"}
    fields: dict[str, Any] = {"order_id": "order-1", **item, "cc_expiry": "12/99", **changes}
    return Order(**fields)


def new_worker(client: Client, act: Callable[[str], Awaitable[None]] | None = None) -> Worker:
    """Return a worker with one stub for all activities. The stub calls ``act`` with their names.

    The worker replays the event history at each workflow task. Any workflow error fails the order.
    """

    @activity.defn(dynamic=True)
    async def stub(arguments: Sequence[RawValue]) -> str:
        name, order = activity.info().activity_type, new_order(order_id=activity.info().workflow_id)
        if name not in RESULTS:
            raise ApplicationError(f"add {name} to RESULTS in helpers.py", non_retryable=True)
        got = [argument.payload for argument in arguments]
        if got != (expected := activity.payload_converter().to_payloads([order])):
            raise ApplicationError(f"{name} got {got}, not {expected}", non_retryable=True)
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
    """Start an order with an execution timeout of APPROVAL_TIMEOUT plus ``seconds``."""
    return await client.start_workflow(
        OrderFulfillment.run,
        new_order(order_id=order_id),
        id=order_id,
        task_queue=TASK_QUEUE,
        execution_timeout=APPROVAL_TIMEOUT + timedelta(seconds=seconds),
    )


async def read_events(order: Handle) -> list[str]:
    """Return the names of an order's events.

    They are like "TIMER_FIRED approval", "ACTIVITY_TASK_COMPLETED process_payment" and
    "WORKFLOW_EXECUTION_SIGNALED". A timer that isn't the approval's is like "TIMER_FIRED other".
    """
    events: list[str] = []
    subjects: dict[int, str] = {}  # of activities and timers, by the ID of their first event
    async for event in order.fetch_history_events():
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        if name == "ACTIVITY_TASK_SCHEDULED":
            subjects[event.event_id] = attributes.activity_type.name
        if name == "TIMER_STARTED":
            is_approval = attributes.start_to_fire_timeout.ToTimedelta() == APPROVAL_TIMEOUT
            subjects[event.event_id] = "approval" if is_approval else "other"
        # An event refers to the first one of its activity or timer, or is the first one.
        timer = getattr(attributes, "started_event_id", event.event_id)
        subject = subjects.get(getattr(attributes, "scheduled_event_id", timer))
        events.append(f"{name} {subject}" if subject else name)
    return events


def steps(events: list[str], state: str) -> list[str]:
    """Return the activities that have an event of this state, such as STARTED, in order."""
    prefix = f"ACTIVITY_TASK_{state} "
    return [name.removeprefix(prefix) for name in events if name.startswith(prefix)]


async def wait_for_event(order: Handle, name: str, after: str = FIRST, seconds: float = 15) -> None:
    """Wait for an event after another. Only newer servers have ``wait_new_event``."""
    deadline = time.monotonic() + seconds
    while True:
        events = await read_events(order)
        if after in events and name in events[events.index(after) :]:
            return
        late = time.monotonic() > deadline or CLOSED.intersection(events)
        assert not late, f"{order.id} has no {name} after {after}: {events[-3:]}"
        await asyncio.sleep(0.05)
