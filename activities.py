"""The three activities of an order. Each stands in for a call to another service."""

import re
import time
from decimal import Decimal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from shared import Order

SIMULATED_LATENCY_SECONDS = 1.0  # Replace each sleep with your own call. It may block.


@activity.defn
def process_payment(order: Order) -> str:
    """Authorize the payment. Fails permanently as ``InvalidOrder`` or ``CreditCardExpired``."""
    if not re.fullmatch("(0[1-9]|1[0-2])/[0-9]{2}", order.cc_expiry):
        raise ApplicationError("cc_expiry must be MM/YY", type="InvalidOrder", non_retryable=True)
    if not re.fullmatch("[0-9]+[.][0-9]{2}", order.price):
        raise ApplicationError("price must be like 19.99", type="InvalidOrder", non_retryable=True)
    if order.quantity < 1:
        raise ApplicationError("quantity must be >= 1", type="InvalidOrder", non_retryable=True)
    month, year = map(int, order.cc_expiry.split("/"))
    # Use the scheduled time: a retry must not decline a card that an earlier attempt authorized.
    if (2000 + year, month) < activity.info().scheduled_time.timetuple()[:2]:
        raise ApplicationError("credit card expired", type="CreditCardExpired", non_retryable=True)
    total = f"${order.quantity * Decimal(order.price)}"
    # Authorize, don't charge: the order may expire, and an unused authorization lapses by itself.
    # If the worker dies now, the retry authorizes again. The idempotency key makes that safe.
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
