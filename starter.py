"""The starter: starts one order, waits for it and prints its result."""

import asyncio
import sys
from uuid import uuid4

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from shared import APPROVAL_TIMEOUT, TASK_QUEUE, Order, connect, run
from workflow import OrderFulfillment


async def main() -> None:
    """Print the result of a new order, or raise SystemExit with the reason why there is none."""
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
    handle = await client.start_workflow(
        OrderFulfillment.run,
        order,
        id=order.order_id,
        task_queue=TASK_QUEUE,
        static_summary=summary,
        static_details=f"Approve it with **More Actions > Send a Signal**, or with `{approve}`",
    )
    print(f"Started workflow {handle.id}: {summary}")
    seconds = APPROVAL_TIMEOUT.seconds
    print(f"Waiting for approval, up to {seconds} s after the payment. In another terminal:")
    print(f"  {approve}", flush=True)

    goes_on = f"order goes on. Result: uv run temporal workflow result --workflow-id {handle.id}"
    try:
        print(await handle.result())
    except WorkflowFailureError as failure:
        cause: BaseException = failure
        while cause.__cause__:
            cause = cause.__cause__
        reason = cause.message if isinstance(cause, ApplicationError) else repr(cause)
        raise SystemExit(f"Order {handle.id} failed: {reason}") from None
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise SystemExit(f"Order {handle.id} is gone: the server kept it in memory") from None
        raise SystemExit(f"Server lost; {goes_on}") from None
    except asyncio.CancelledError:
        print(f"Interrupted; {goes_on}", file=sys.stderr)
        raise


if __name__ == "__main__":
    run(main())
