"""The three steps of an order, each a stand-in for a call to another service."""

import asyncio

from temporalio import activity
from temporalio.exceptions import ApplicationError

from shared import Order

# In place of the sleep goes your call. In an `async def` a blocking one stops all workflows and
# activities of the worker: write a plain `def` then, and give the Worker an `activity_executor`.
SIMULATED_LATENCY_SECONDS = 1.0


@activity.defn
async def process_payment(order: Order) -> str:
    """Charge the card. Fails for good as ``InvalidOrder`` (a field) or ``CreditCardExpired``."""
    if problems := order.problems():
        raise ApplicationError("; ".join(problems), type="InvalidOrder", non_retryable=True)
    month, year = map(int, order.cc_expiry.split("/"))
    # When the payment was scheduled, in UTC: a retry must not judge a charged card anew.
    today = activity.info().scheduled_time
    if (2000 + year, month) < (today.year, today.month):
        message = f"credit card expired, cc_expiry is {order.cc_expiry}"
        raise ApplicationError(message, type="CreditCardExpired", non_retryable=True)
    # If the worker dies here, the next attempt charges again; by the key the gateway does so once.
    activity.logger.info("charging %s, idempotency key %s", order.total, order.order_id)
    await asyncio.sleep(SIMULATED_LATENCY_SECONDS)
    return f"charged {order.total}"


@activity.defn
async def reserve_inventory(order: Order) -> str:
    """Reserve the items. Any failure is retried until the inventory service is back."""
    activity.logger.info("reserving %s x %s", order.quantity, order.item)
    # Scenario "API downtime": uncomment the next line and restart the worker.
    # raise ConnectionError("API is down")
    await asyncio.sleep(SIMULATED_LATENCY_SECONDS)
    return f"reserved {order.quantity} x {order.item}"


@activity.defn
async def deliver_order(order: Order) -> str:
    """Hand the reserved items to the carrier."""
    activity.logger.info("delivering %s x %s", order.quantity, order.item)
    await asyncio.sleep(SIMULATED_LATENCY_SECONDS)
    return "delivered"
