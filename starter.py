"""The starter: starts one order, waits for it and prints how it ended."""

import shlex
from uuid import uuid4

from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from shared import TASK_QUEUE, Order, connect, run
from workflow import APPROVAL_TIMEOUT, OrderFulfillment


async def main() -> None:
    """Print the result of a new order. Raises SystemExit if the order isn't fulfilled."""
    client = await connect()
    order_id = f"order-{uuid4().hex[:7]}"  # short for the demo; use your own order number
    # Scenario "invalid order": change 12/99 to 12/23.
    order = Order(order_id, item="Temporal mug", quantity=2, price="19.99", cc_expiry="12/99")
    try:
        handle = await client.start_workflow(
            OrderFulfillment.run,
            order,
            id=order_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        print(f"Started workflow {order_id}")
        address = client.service_client.config.target_host
        command = f"uv run temporal workflow signal --workflow-id {order_id} --name approve_order"
        if address == "localhost:7233" and client.namespace == "default":
            print(f"Web UI: http://localhost:8233/namespaces/default/workflows/{order_id}")
        else:
            command += " " + shlex.join(["--address", address, "--namespace", client.namespace])
        print(f"Approve the order within {APPROVAL_TIMEOUT.total_seconds():.0f} s after payment:")
        print(command, flush=True)
        print(await handle.result())
    except WorkflowAlreadyStartedError:
        raise SystemExit(f"Order {order_id} already exists. Choose another order ID.") from None
    except WorkflowFailureError as failure:
        cause = failure.cause.__cause__ or failure.cause
        status = (await handle.describe()).status
        raise SystemExit(f"Order {order_id} {status and status.name}: {cause}") from None


if __name__ == "__main__":
    run(main())
