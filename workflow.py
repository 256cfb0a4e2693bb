"""The workflow: an order from its payment to its delivery."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities import deliver_order, process_payment, reserve_inventory
    from shared import APPROVAL_TIMEOUT, Order


def options(summary: str) -> workflow.ActivityConfig:
    """Return the options of an activity, with the summary that the Web UI shows of it."""
    return workflow.ActivityConfig(
        summary=summary,
        # For one attempt; also how soon the attempt of a worker that died is made again.
        start_to_close_timeout=timedelta(seconds=5),
        # Attempts without limit, at most 10 s apart: an outage delays an order, no more.
        retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
    )


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
        """Return one sentence that names the order and what happened in each step.

        Fails with an ApplicationError ``OrderExpired`` if the approval does not come within
        ``APPROVAL_TIMEOUT`` of the payment, or with the error of a refused payment.
        """
        workflow.set_current_details("Charging the credit card")
        payment = await workflow.execute_activity(
            process_payment, order, **options("Charge the credit card")
        )

        # Scenario "bug in workflow": uncomment the next line, and restart the worker.
        # raise RuntimeError("workflow bug!")

        if not self._approved:
            until = f"{workflow.now() + APPROVAL_TIMEOUT:%H:%M:%S} UTC"
            how = "**More Actions > Send a Signal** `approve_order`"
            workflow.set_current_details(f"Waiting until {until} for approval: {how}")
            workflow.logger.info("waiting until %s for the signal approve_order", until)
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._approved,
                    timeout=APPROVAL_TIMEOUT,
                    timeout_summary="Wait for the approval",
                )
        # While no worker runs, the approval and the timeout may both come in: approved.
        if not self._approved:
            workflow.set_current_details("Expired, not approved in time")
            workflow.logger.info("expired")
            raise ApplicationError("order expired", type="OrderExpired")

        workflow.set_current_details("Approved, reserving the items")
        reservation = await workflow.execute_activity(
            reserve_inventory, order, **options("Reserve the items")
        )
        workflow.set_current_details("Delivering the items")
        delivery = await workflow.execute_activity(
            deliver_order, order, **options("Deliver the items")
        )
        workflow.set_current_details("Fulfilled")
        workflow.logger.info("fulfilled")
        return f"Order {order.order_id} fulfilled: {payment}, approved, {reservation}, {delivery}."
