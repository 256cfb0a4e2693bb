"""An order to test with, and what its event history says."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from activities import deliver_order, process_payment, reserve_inventory
from shared import Order

ACTIVITIES = [process_payment, reserve_inventory, deliver_order]
RESERVATION = "ACTIVITY_TASK_SCHEDULED reserve_inventory"
FULFILLED = Counter({"process_payment": 1, "reserve_inventory": 1, "deliver_order": 1})


def an_order(order_id: str = "order-1", **changes: Any) -> Order:
    """Return an order that can be fulfilled, but for the changes."""
    fields = {"item": "Temporal mug", "quantity": 2, "price_cents": 1_999, "cc_expiry": "12/99"}
    return Order(**{"order_id": order_id, **fields, **changes})


async def until(
    condition: Callable[[], Awaitable[Any]] | Callable[[], Any],
    within: float,
    what: str,
    every: float = 0.05,
) -> Any:
    """Return the first true value of a condition, or fail when it stays false for too long."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(every)


@dataclass
class History:
    """What the event history of one order says.

    ``scheduled`` and ``completed`` count activities by name. ``times`` has the first event of each
    kind and the completion of each activity, in seconds since 1970. ``retries`` counts the attempts
    after the first. ``in_order`` names all events, those of an activity with the activity's name;
    ``workers`` are the identities of the workers that took its workflow tasks.
    """

    events: Counter[str]
    scheduled: Counter[str]
    completed: Counter[str]
    times: dict[str, float]
    failed_task_messages: list[str]
    retries: int = 0
    in_order: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)

    @property
    def approved_before_reservation(self) -> bool:
        """Whether nothing was reserved before an approval."""
        events = [*self.in_order, "WORKFLOW_EXECUTION_SIGNALED", RESERVATION]
        return events.index("WORKFLOW_EXECUTION_SIGNALED") < events.index(RESERVATION)

    @property
    def total(self) -> int:
        """The number of events."""
        return self.events.total()


async def read_history(handle: WorkflowHandle[Any, Any]) -> History:
    """Fetch and count the event history of an order."""
    names: dict[int, str] = {}
    history = History(Counter(), Counter(), Counter(), {}, [])
    async for event in handle.fetch_history_events():
        kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        history.events[kind] += 1
        history.times.setdefault(kind, event.event_time.ToNanoseconds() / 1e9)
        history.in_order.append(kind)
        if kind == "ACTIVITY_TASK_SCHEDULED":
            attributes = event.activity_task_scheduled_event_attributes
            names[event.event_id] = attributes.activity_type.name
            history.scheduled[attributes.activity_type.name] += 1
            history.in_order[-1] += f" {attributes.activity_type.name}"
        elif kind == "ACTIVITY_TASK_STARTED":
            history.retries += event.activity_task_started_event_attributes.attempt - 1
        elif kind == "ACTIVITY_TASK_COMPLETED":
            completed = event.activity_task_completed_event_attributes
            name = names[completed.scheduled_event_id]
            history.completed[name] += 1
            history.times[name] = event.event_time.ToNanoseconds() / 1e9
            history.in_order[-1] += f" {name}"
        elif kind == "WORKFLOW_TASK_STARTED":
            history.workers.append(event.workflow_task_started_event_attributes.identity)
        elif kind == "WORKFLOW_TASK_FAILED":
            failure = event.workflow_task_failed_event_attributes.failure
            while failure.HasField("cause"):
                failure = failure.cause
            history.failed_task_messages.append(failure.message)
    return history


async def reaches(handle: WorkflowHandle[Any, Any], event: str) -> None:
    """Wait until the event history of an order has an event of a kind.

    It asks again and again: with ``wait_new_event`` the time-skipping server tells nothing.
    """

    async def reached() -> bool:
        return (await read_history(handle)).events[event] > 0

    await until(reached, 60, f"{event} of {handle.id}")
