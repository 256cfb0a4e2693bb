"""An order to test with, a worker to run it, and what its event history says."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, Order
from workflow import OrderFulfillment

ACTIVITIES = [process_payment, reserve_inventory, deliver_order]
STEPS = [activity.__name__ for activity in ACTIVITIES]


def new_order(order_id: str = "order-1", **changes: Any) -> Order:
    """Return an order that can be fulfilled, except for the changes."""
    fields = {"item": "Temporal mug", "quantity": 2, "price": "19.99", "cc_expiry": "12/99"}
    return Order(**{"order_id": order_id, **fields, **changes})


def new_worker(client: Client, **options: Any) -> Worker:
    """Return a worker that replays the history at each task. Nondeterminism fails the order."""
    defaults = {
        "task_queue": TASK_QUEUE,
        "workflows": [OrderFulfillment],
        "activities": ACTIVITIES,
        "activity_executor": ThreadPoolExecutor(10),
        "max_concurrent_activities": 10,
        "max_cached_workflows": 0,
        "workflow_failure_exception_types": [workflow.NondeterminismError],
    }
    return Worker(client, **{**defaults, **options})


async def wait_for(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 60) -> Any:
    """Return the first true value of a condition, or fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return value


@dataclass
class History:
    """The event history of an order. An event is ``ACTIVITY_TASK_COMPLETED deliver_order``, say."""

    events: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)  # of the first event of each name, in s
    retries: int = 0  # attempts of activities after the first
    failures: list[str] = field(default_factory=list)  # messages of failed workflow tasks

    def activities(self, state: str = "COMPLETED") -> list[str]:
        """Return the activities that were scheduled, started or completed, in order."""
        prefix = f"ACTIVITY_TASK_{state} "
        return [event.removeprefix(prefix) for event in self.events if event.startswith(prefix)]


async def read_history(handle: WorkflowHandle[Any, Any]) -> History:
    history, scheduled = History(), {}
    async for event in handle.fetch_history_events():
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        if name == "ACTIVITY_TASK_SCHEDULED":
            activity = event.activity_task_scheduled_event_attributes.activity_type.name
            scheduled[event.event_id] = activity
            name += f" {activity}"
        elif name == "ACTIVITY_TASK_STARTED":
            started = event.activity_task_started_event_attributes
            history.retries += started.attempt - 1
            name += f" {scheduled[started.scheduled_event_id]}"
        elif name == "ACTIVITY_TASK_COMPLETED":
            completed = event.activity_task_completed_event_attributes
            name += f" {scheduled[completed.scheduled_event_id]}"
        elif name == "WORKFLOW_TASK_FAILED":
            history.failures.append(event.workflow_task_failed_event_attributes.failure.message)
        history.events.append(name)
        history.times.setdefault(name, event.event_time.ToNanoseconds() / 1e9)
    return history


async def wait_for_event(handle: WorkflowHandle[Any, Any], event: str) -> None:
    """Wait for an event. The time-skipping server has no ``wait_new_event``, so this polls."""

    async def has_event() -> bool:
        return event in (await read_history(handle)).events

    await wait_for(has_event, f"{event} of {handle.id}")
