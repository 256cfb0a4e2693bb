"""Records the event histories that ``test_replay.py`` replays, from a dev server.

Run ``uv run python -m tests.tools.record_histories`` only after a change to the workflow that may
strand the orders for which the old histories stand. With names, it records only those.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import activities
from shared import Order
from tests.orders import ACTIVITIES, an_order, reaches
from workflow import OrderFulfillment

FOLDER = Path(__file__).parent.parent / "histories"
NAMES = (
    "approved_early",
    "approved_late",  # the approval and the fired timer come in one workflow task
    "cancelled",
    "expired",
    "fulfilled",
    "outage_survived",
    "payment_refused",
    "waiting",
)


@activity.defn(name="reserve_inventory")
async def reserve_inventory_after_an_outage(order: Order) -> str:
    """Fail at the first two attempts."""
    if activity.info().attempt <= 2:
        raise ConnectionError("API is down")
    return await activities.reserve_inventory(order)


def without_the_machine(part: dict[str, Any]) -> dict[str, Any]:
    """Drop who recorded it, and from which files: the replay needs neither."""
    return {key: part[key] for key in part if key not in ("identity", "stackTrace")}


async def record(client: Client, name: str) -> None:
    """Take one order as far as its name says and write its event history to a file."""
    steps = list(ACTIVITIES)
    if name == "outage_survived":
        steps[1] = reserve_inventory_after_an_outage
    order = an_order(f"order-{name}", cc_expiry="12/23" if name == "payment_refused" else "12/99")
    handle = await client.start_workflow(
        OrderFulfillment.run, order, id=order.order_id, task_queue=name
    )
    if name == "approved_early":
        await handle.signal(OrderFulfillment.approve_order)

    def worker() -> Worker:
        return Worker(
            client,
            task_queue=name,
            workflows=[OrderFulfillment],
            activities=steps,
            identity="recorder",  # else the name of the machine
        )

    async with worker():
        if name not in ("approved_early", "payment_refused"):
            await reaches(handle, "TIMER_STARTED")
        if name in ("fulfilled", "outage_survived"):
            await handle.signal(OrderFulfillment.approve_order)
        if name == "cancelled":
            await handle.cancel()
        if name not in ("approved_late", "waiting"):
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
    if name == "approved_late":
        await reaches(handle, "TIMER_FIRED")
        await handle.signal(OrderFulfillment.approve_order)
        async with worker():
            await handle.result()
    text = (await handle.fetch_history()).to_json()
    history = json.loads(text, object_hook=without_the_machine)
    (FOLDER / f"{name}.json").write_text(json.dumps(history, indent=1) + "\n")
    print(f"recorded {name}.json, {len(history['events'])} events")


async def main() -> None:
    """Record side by side; those in which the approval comes too late take their 30 s."""
    names = sys.argv[1:] or NAMES
    if not set(names) <= set(NAMES):
        raise SystemExit(f"the histories are {', '.join(NAMES)}")
    activities.SIMULATED_LATENCY_SECONDS = 0
    logging.disable(logging.WARNING)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
    ) as environment:
        await asyncio.gather(*[record(environment.client, name) for name in names])


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # without the interpreter's shutdown, see ``shared.run``
