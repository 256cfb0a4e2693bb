"""The three steps of an order, each a stand-in for a call to another service."""

import asyncio
import re

from temporalio import activity
from temporalio.exceptions import ApplicationError

from shared import Order

SIMULATED_LATENCY_SECONDS = 1.0


@activity.defn
async def process_payment(order: Order) -> str:
    """Charge the credit card.

    Raises an ApplicationError that is not retried: ``InvalidOrder`` if a field cannot be used, or
    ``CreditCardExpired`` if the card's last month is over (UTC).
    """
    expiry = re.fullmatch(r"(0[1-9]|1[0-2])/([0-9]{2})", order.cc_expiry)
    for field, valid, rule in (
        ("order_id", 0 < len(order.order_id.strip()) <= 100, "1 to 100 characters"),
        ("item", 0 < len(order.item.strip()) <= 100, "1 to 100 characters"),
        ("quantity", 0 < order.quantity <= 1_000_000, "1 to 1000000"),
        ("price_cents", 0 < order.price_cents <= 1_000_000, "1 to 1000000"),
        ("cc_expiry", expiry, "MM/YY"),
    ):
        if not valid:
            message = f"{field} must be {rule}, not {getattr(order, field)!r:.40}"
            raise ApplicationError(message, type="InvalidOrder", non_retryable=True)
    # The month in which the payment was scheduled: a retry must not judge a charged card anew.
    if expiry and f"20{expiry[2]}-{expiry[1]}" < f"{activity.info().scheduled_time:%Y-%m}":
        message = f"credit card expired, cc_expiry is {order.cc_expiry}"
        raise ApplicationError(message, type="CreditCardExpired", non_retryable=True)

    activity.logger.info("charging %s", order.total)
    # A real gateway gets order_id as its idempotency key, so that a retry cannot charge twice.
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
