"""The activities of both floors."""

from dataclasses import dataclass

from temporalio import activity


@activity.defn
async def first(text: str) -> str:
    """Do nothing."""
    return text


@activity.defn
async def second(text: str) -> str:
    """Do nothing."""
    return text


@activity.defn
async def third(text: str) -> str:
    """Do nothing."""
    return text


@dataclass(frozen=True)
class Parcel:
    """As large as an order."""

    order_id: str
    item: str
    quantity: int
    price_cents: int
    cc_expiry: str


@activity.defn
async def process_payment(parcel: Parcel) -> str:
    """Say as much as a payment does."""
    activity.logger.info("charging %s, idempotency key %s", "$39.98", parcel.order_id)
    return "charged $39.98"


@activity.defn
async def reserve_inventory(parcel: Parcel) -> str:
    """Say as much as a reservation does."""
    activity.logger.info("reserving %s x %s", parcel.quantity, parcel.item)
    return "reserved 2 x Temporal mug"


@activity.defn
async def deliver_order(parcel: Parcel) -> str:
    """Say as much as a delivery does."""
    activity.logger.info("delivering %s x %s", parcel.quantity, parcel.item)
    return "delivered"
