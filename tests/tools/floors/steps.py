"""The activities of the floor that is like for like."""

from dataclasses import dataclass

from temporalio import activity


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
