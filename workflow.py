"""The workflow: an order from payment to delivery."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities import deliver_order, process_payment, reserve_inventory
    from shared import Order

APPROVAL_TIMEOUT = timedelta(seconds=30)
ATTEMPT_TIMEOUT = timedelta(seconds=5)  # also delays the retry after a worker crash
RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=10))  # unlimited attempts


@workflow.defn
class OrderFulfillment:
    """Authorizes the payment, waits for a human's approval, then reserves and delivers."""

    def __init__(self) -> None:
        self._approved = False  # A signal can be handled before run() starts.

    @workflow.signal(description="Approve the order")
    def approve_order(self) -> None:
        """Approve the order. The signal may arrive before the payment, and more than once."""
        self._approved = True

    @workflow.run
    async def run(self, order: Order) -> str:
        """Return what was done. Fails as ``OrderExpired`` or because the payment is declined."""
        # Scenario "change of the workflow": uncomment the next line while an order waits.
        # await workflow.sleep(1)
        payment = await workflow.execute_activity(
            process_payment, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        # Scenario "bug in workflow": uncomment the next line and restart the worker.
        # raise RuntimeError("workflow bug!")
        deadline = f"{workflow.now() + APPROVAL_TIMEOUT:%Y-%m-%d %H:%M:%S} UTC"
        workflow.logger.info("needs the signal approve_order by %s", deadline)
        workflow.set_current_details(f"Waiting for the signal approve_order until {deadline}")
        try:
            await workflow.wait_condition(lambda: self._approved, timeout=APPROVAL_TIMEOUT)
        except TimeoutError:
            pass  # After downtime, the approval and the timeout can arrive together.
        finally:
            workflow.set_current_details("")
        if not self._approved:
            raise ApplicationError("order expired", type="OrderExpired")
        reservation = await workflow.execute_activity(
            reserve_inventory, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        delivery = await workflow.execute_activity(
            deliver_order, order, start_to_close_timeout=ATTEMPT_TIMEOUT, retry_policy=RETRIES
        )
        return f"Order {order.order_id} fulfilled: {payment}, approved, {reservation}, {delivery}."
