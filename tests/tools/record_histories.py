"""Records the event histories that ``test_replay.py`` replays, on a dev server.

Run ``uv run python -m tests.tools.record_histories`` only if no order that the old histories
represent is still running.
"""

import asyncio
import contextlib
import json
import re
import shutil

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

import activities
from shared import Order
from tests.helpers import new_order, new_worker, wait_for_event
from tests.test_replay import HISTORIES, NAMES
from workflow import OrderFulfillment


@activity.defn(name="reserve_inventory")
def reserve_after_outage(order: Order) -> str:
    if activity.info().attempt <= 2:
        raise ConnectionError("API is down")
    return activities.reserve_inventory(order)


async def record(client: Client, name: str) -> None:
    reserve = reserve_after_outage if name == "outage" else activities.reserve_inventory
    steps = [activities.process_payment, reserve, activities.deliver_order]
    options = {"task_queue": name, "activities": steps, "identity": "recorder"}
    order = new_order(f"order-{name}", cc_expiry="12/23" if name == "declined" else "12/99")
    handle = await client.start_workflow(
        OrderFulfillment.run,
        order,
        id=order.order_id,
        task_queue=name,
        start_signal="approve_order" if name == "approved_early" else None,
    )
    async with new_worker(client, **options):
        if name not in ("approved_early", "declined"):
            await wait_for_event(handle, "TIMER_STARTED")
        if name in ("fulfilled", "outage"):
            await handle.signal(OrderFulfillment.approve_order)
        if name == "canceled":
            await handle.cancel()
        if name not in ("approved_late", "waiting"):
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
    if name == "approved_late":  # approval and timeout arrive together
        await wait_for_event(handle, "TIMER_FIRED")
        await handle.signal(OrderFulfillment.approve_order)
        async with new_worker(client, **options):
            await handle.result()
    # Drop what names the recording machine and its folders. A replay doesn't need it.
    text = re.sub('"(identity|stackTrace)": ".*?",?', "", (await handle.fetch_history()).to_json())
    history = json.loads(text)
    (HISTORIES / f"{name}.json").write_text(json.dumps(history, indent=1) + "\n")
    print(f"Recorded {name}.json, {len(history['events'])} events", flush=True)


async def main() -> None:
    activities.SIMULATED_LATENCY_SECONDS = 0
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
    ) as environment:
        await asyncio.gather(*[record(environment.client, name) for name in NAMES])


if __name__ == "__main__":
    asyncio.run(main())
