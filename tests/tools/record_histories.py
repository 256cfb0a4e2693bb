"""Records the event histories that ``test_replay.py`` replays, from a dev server.

Run ``uv run python -m tests.tools.record_histories`` after a change to the workflow that is meant
to be incompatible with running orders, and only then.
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
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

import activities
from shared import TASK_QUEUE, Order
from tests.orders import ACTIVITIES, an_order, until
from workflow import OrderFulfillment

FOLDER = Path(__file__).parent.parent / "histories"


@activity.defn(name="reserve_inventory")
async def reserve_inventory_after_an_outage(order: Order) -> str:
    """Fail at the first two attempts."""
    if activity.info().attempt <= 2:
        raise ConnectionError("API is down")
    return await activities.reserve_inventory(order)


def without_the_machine(part: dict[str, Any]) -> dict[str, Any]:
    """Drop who recorded it, and from which files: the replay needs neither."""
    return {key: part[key] for key in part if key not in ("identity", "stackTrace")}


async def record(environment: WorkflowEnvironment, name: str) -> None:
    """Take one order to its end and write its event history to a file."""
    client, steps = environment.client, list(ACTIVITIES)
    if name == "outage_survived":
        steps[1] = reserve_inventory_after_an_outage
    order = an_order(f"order-{name}", cc_expiry="12/23" if name == "payment_refused" else "12/99")
    handle: WorkflowHandle[OrderFulfillment, str] = await client.start_workflow(
        OrderFulfillment.run, order, id=order.order_id, task_queue=TASK_QUEUE
    )
    if name == "approved_early":
        await handle.signal(OrderFulfillment.approve_order)

    async def waits() -> bool:
        return "TIMER_STARTED" in (await handle.fetch_history()).to_json()

    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=steps,
        identity="recorder",  # else the name of the machine
    ):
        if name in ("fulfilled", "outage_survived"):
            await until(waits, 10, "the wait for approval")
            await handle.signal(OrderFulfillment.approve_order)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
    text = (await handle.fetch_history()).to_json()
    history = json.loads(text, object_hook=without_the_machine)
    (FOLDER / f"{name}.json").write_text(json.dumps(history, indent=1) + "\n")
    print(f"recorded {name}.json, {len(history['events'])} events")


async def main() -> None:
    """Record all histories, one after the other; ``expired`` takes its 30 s."""
    activities.SIMULATED_LATENCY_SECONDS = 0
    logging.disable(logging.WARNING)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
    ) as environment:
        for path in sorted(FOLDER.glob("*.json")):
            await record(environment, path.stem)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # without the interpreter's shutdown, see ``shared.run``
