"""The workflow: an order from payment to delivery."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities import deliver_order, process_payment, reserve_inventory
    from shared import Order

APPROVAL_TIMEOUT = timedelta(seconds=30)
ATTEMPT_TIMEOUT = timedelta(seconds=5)  # The server notices a worker crash when it expires.
RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=10))  # for the demo; default: 100 s


@workflow.defn
class OrderFulfillment:
    """Authorizes the payment, waits for human approval, then reserves and delivers."""

    def __init__(self) -> None:
        self._approved = False  # A signal can be handled before run() starts.

    @workflow.signal(description="Approve the order")
    def approve_order(self) -> None:
        """Approve the order. The signal may arrive before the payment, and more than once."""
        self._approved = True

    @workflow.run
    async def run(self, order: Order) -> str:
        """Return a summary. The order fails if it expires or its payment is declined."""
        # Scenario "workflow change": uncomment the next line while an order waits.
        # await workflow.sleep(1)
        payment = await workflow.execute_activity(
            process_payment, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        # Scenario "bug in workflow": uncomment the next line and restart the worker.
        # raise RuntimeError("workflow bug!")
        workflow.logger.info("waits for the signal approve_order")
        try:
            await workflow.wait_condition(
                lambda: self._approved, timeout=APPROVAL_TIMEOUT, timeout_summary="human approval"
            )
        except TimeoutError:
            # After downtime, approval and timeout can arrive together. Then the approval wins.
            if not self._approved:
                raise ApplicationError("order expired", type="OrderExpired") from None
        reservation = await workflow.execute_activity(
            reserve_inventory, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        handle = workflow.start_activity(
            deliver_order, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        # Wait for it even if the order is canceled: the carrier may already have the items.
        try:
            delivery = await asyncio.shield(handle)
        except asyncio.CancelledError:
            delivery = await handle
        return f"Order {order.order_id} fulfilled: {payment}, approved, {reservation}, {delivery}."
