"""Simulated service calls. A crash can repeat a call, so send the order ID as idempotency key."""

import re
import time
from datetime import timedelta
from decimal import Decimal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from shared import Order

# Replace each sleep with your own call. Give the call a total timeout below ATTEMPT_TIMEOUT:
# otherwise, a slow call overlaps its own retry and occupies a thread.
SIMULATED_LATENCY_SECONDS = 1.0


@activity.defn
def process_payment(order: Order) -> str:
    """Authorize the payment. ``InvalidOrder`` and ``CreditCardExpired`` failures aren't retried."""
    for requirement, is_met in (
        ("order_id must be the workflow ID", order.order_id == activity.info().workflow_id),
        ("cc_expiry must be MM/YY", re.fullmatch("(0[1-9]|1[0-2])/[0-9]{2}", order.cc_expiry)),
        ("price must be 0.00 to 999999.99", re.fullmatch("[0-9]{1,6}[.][0-9]{2}", order.price)),
        ("quantity must be 1 to 999", 1 <= order.quantity <= 999),
    ):
        if not is_met:
            raise ApplicationError(requirement, type="InvalidOrder", non_retryable=True)
    # A card is valid until its month ends at UTC-12. Use the scheduled time, not the current one:
    # a retry must not decline a card that an earlier attempt may have authorized.
    month, year = order.cc_expiry.split("/")
    if f"20{year}-{month}" < f"{activity.info().scheduled_time - timedelta(hours=12):%Y-%m}":
        raise ApplicationError("credit card expired", type="CreditCardExpired", non_retryable=True)
    total = f"${order.quantity * Decimal(order.price)}"
    # Authorize, don't charge: the order may expire, and an unused authorization lapses by itself.
    activity.logger.info("authorizing %s, idempotency key %s", total, order.order_id)
    time.sleep(SIMULATED_LATENCY_SECONDS)
    return f"authorized {total}"


@activity.defn
def reserve_inventory(order: Order) -> str:
    """Reserve the items. Any failure is retried until the inventory service is back."""
    activity.logger.info("reserving %s x %s", order.quantity, order.item)
    # Scenario "API downtime": uncomment the next line and restart the worker.
    # raise ConnectionError("API is down")
    time.sleep(SIMULATED_LATENCY_SECONDS)
    return f"reserved {order.quantity} x {order.item}"


@activity.defn
def deliver_order(order: Order) -> str:
    """Hand the reserved items to the carrier. Any failure is retried."""
    activity.logger.info("delivering %s x %s", order.quantity, order.item)
    time.sleep(SIMULATED_LATENCY_SECONDS)
    return "delivered"
