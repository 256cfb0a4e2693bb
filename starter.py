"""The starter: starts one order, waits for it and prints its result."""

from uuid import uuid4

from temporalio.common import WorkflowIDReusePolicy

from shared import APPROVAL_TIMEOUT, TASK_QUEUE, Order, connect, one_line, run
from workflow import OrderFulfillment


async def main() -> None:
    """Print the result of a new order, or raise a WorkflowFailureError with the reason."""
    client = await connect()
    order_id = f"order-{uuid4().hex[:7]}"
    # Scenario "invalid order": change the 12/99 to 12/23.
    order = Order(order_id, item="Temporal mug", quantity=2, price_cents=1_999, cc_expiry="12/99")
    handle = await client.start_workflow(
        OrderFulfillment.run,
        order,
        id=order_id,
        task_queue=TASK_QUEUE,
        # An order that was fulfilled is not started and charged again; one that failed may be.
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
        static_summary=f"{order.quantity} x {order.item}, {order.total}",
    )
    address, namespace = client.service_client.config.target_host, client.namespace
    print(f"Started workflow {order_id} at {address}, namespace {namespace}")
    host, _, port = address.rpartition(":")
    if host in ("localhost", "127.0.0.1"):  # a dev server has its Web UI 1000 ports up
        page = f"http://{host}:{int(port) + 1000}/namespaces/{namespace}/workflows/{order_id}"
        print(f"In a dev server's Web UI:\n{page}")
    options = f"--workflow-id {order_id}"
    if (address, namespace) != ("localhost:7233", "default"):
        options += f" --address {address} --namespace {namespace}"
    print(f"Approve it within {APPROVAL_TIMEOUT} of its payment, in another terminal:")
    print(f"uv run temporal workflow signal {options} --name approve_order")
    print(f"Ask for its result: uv run temporal workflow result {options}")
    print(one_line(await handle.result()))


if __name__ == "__main__":
    run(main())
