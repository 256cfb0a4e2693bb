"""The starter: starts one order, waits for it and prints its result."""

import asyncio
import sys
from uuid import uuid4

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError

from shared import APPROVAL_TIMEOUT, TASK_QUEUE, Order, connect, run
from workflow import OrderFulfillment


async def main() -> None:
    """Print the order's result, or raise SystemExit with the reason why there is none."""
    client = await connect()
    order = Order(
        order_id=f"order-{uuid4().hex[:8]}",
        item="Temporal mug",
        quantity=2,
        price_cents=1_999,
        cc_expiry="12/99",  # Scenario "invalid order": change to 12/23.
    )
    summary = f"{order.quantity} x {order.item}, {order.total}"
    approve = f"uv run temporal workflow signal --workflow-id {order.order_id} --name approve_order"
    try:
        handle = await client.start_workflow(
            OrderFulfillment.run,
            order,
            id=order.order_id,
            task_queue=TASK_QUEUE,
            static_summary=summary,
            static_details=f"Approve with the signal `approve_order`:\n\n    {approve}",
        )
    except WorkflowAlreadyStartedError:
        raise SystemExit(f"Order {order.order_id} is already running; use another id") from None
    print(f"Started workflow {handle.id}: {summary}")
    print(f"Approve it within {APPROVAL_TIMEOUT.seconds} s of its payment, in another terminal:")
    print(f"  {approve}", flush=True)

    lost = f"order goes on. Result: uv run temporal workflow result --workflow-id {handle.id}"
    try:
        print(await handle.result())
    except WorkflowFailureError as failure:
        reason: BaseException = failure
        while reason.__cause__:
            reason = reason.__cause__
        message = f"{type(reason).__name__}: {reason}"
        if isinstance(reason, ApplicationError):
            message = reason.message
        raise SystemExit(f"Order {handle.id} failed: {message}") from None
    except RPCError:
        raise SystemExit(f"Server lost; {lost}") from None
    except asyncio.CancelledError:
        print(f"Interrupted; {lost}", file=sys.stderr)
        raise


if __name__ == "__main__":
    run(main())
