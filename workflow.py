"""The workflow: an order from its payment to its delivery."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities import deliver_order, process_payment, reserve_inventory
    from shared import APPROVAL_TIMEOUT, Order


@workflow.defn
class OrderFulfillment:
    """Charges an order, waits for a person's approval, then reserves and delivers the items."""

    def __init__(self) -> None:
        """Start unapproved; a signal can be handled before ``run`` begins."""
        self._approved = False

    @workflow.signal(description="Approve the order, to reserve and deliver its items")
    def approve_order(self) -> None:
        """Approve the order. It may come before the payment, or more than once."""
        self._approved = True

    @workflow.run
    async def run(self, order: Order) -> str:
        """Return a sentence on all steps. Fails as ``OrderExpired`` or with a refused payment."""
        # Scenario "change of the workflow": uncomment the next line while an order waits.
        # await workflow.sleep(1)
        payment = await workflow.execute_activity(
            process_payment,
            order,
            # For one attempt; also how soon the attempt of a worker that died is made again.
            start_to_close_timeout=timedelta(seconds=5),
            # Attempts without limit, at most 10 s apart: an outage delays an order, no more.
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Charge the credit card",
        )
        # Scenario "bug in workflow": uncomment the next line and restart the worker.
        # raise RuntimeError("workflow bug!")
        if not self._approved:
            workflow.logger.info("waiting up to %s for the signal approve_order", APPROVAL_TIMEOUT)
            until = f"{workflow.now() + APPROVAL_TIMEOUT:%Y-%m-%d %H:%M:%S} UTC"
            workflow.set_current_details(f"Waiting until {until}: **Send a Signal** approve_order")
            try:
                await workflow.wait_condition(
                    lambda: self._approved, timeout=APPROVAL_TIMEOUT, timeout_summary="For approval"
                )
            except TimeoutError:
                # A worker that was away may see the approval and the timeout at once: approved.
                if not self._approved:
                    workflow.logger.info("expired")
                    raise ApplicationError("order expired", type="OrderExpired") from None
            finally:
                workflow.set_current_details("")
        reservation = await workflow.execute_activity(
            reserve_inventory,
            order,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Reserve the items",
        )
        delivery = await workflow.execute_activity(
            deliver_order,
            order,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Deliver the items",
        )
        workflow.logger.info("fulfilled")
        return f"Order {order.order_id} fulfilled: {payment}, approved, {reservation}, {delivery}."
