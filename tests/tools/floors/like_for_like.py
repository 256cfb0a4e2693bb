"""The workflow of the floor that is like for like."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from tests.tools.floors.steps import Parcel, deliver_order, process_payment, reserve_inventory


@workflow.defn
class LikeForLike:
    """Gives the server as much to do and to keep as an order, and tells people as much."""

    def __init__(self) -> None:
        """Start without the signal."""
        self._approved = False

    @workflow.signal
    def approve_order(self) -> None:
        """Let it go on."""
        self._approved = True

    @workflow.run
    async def run(self, parcel: Parcel) -> str:
        """Take the steps."""
        await workflow.execute_activity(
            process_payment,
            parcel,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Charge the credit card",
        )
        if not self._approved:
            workflow.logger.info("waiting up to 1:00:00 for the signal approve_order")
            workflow.set_current_details(
                "Waiting until 2026-01-01 00:00:00 UTC: **Send a Signal** approve_order"
            )
            await workflow.wait_condition(
                lambda: self._approved,
                timeout=timedelta(hours=1),
                timeout_summary="For approval",
            )
            workflow.set_current_details("")
        await workflow.execute_activity(
            reserve_inventory,
            parcel,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Reserve the items",
        )
        await workflow.execute_activity(
            deliver_order,
            parcel,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="Deliver the items",
        )
        workflow.logger.info("fulfilled")
        return (
            f"Order {parcel.order_id} fulfilled: charged $39.98, approved, "
            "reserved 2 x Temporal mug, delivered."
        )
