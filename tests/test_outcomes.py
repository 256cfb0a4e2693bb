"""Everything that can happen to an order, in every combination.

Whatever happens, and whenever, an order ends as ``expected`` says. Its event history shows every
step at most once, in order, and none before the approval that it needs.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner

import activities
from shared import Order
from tests.helpers import STEPS, new_order, new_worker, read_history, wait_for
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

CARDS = ["valid card", "expired card"]
FAILURES = [0, 3]
APPROVALS = ["never", "at start", "in payment", "twice in payment", "waiting", "after timeout"]
CANCELS = ["never", "in payment", "waiting", "after timeout", "in reservation", "in delivery"]
CLOSED = [f"WORKFLOW_EXECUTION_{status}" for status in ("COMPLETED", "FAILED", "CANCELED")]


def expected(card: str, approved: str, canceled: str) -> tuple[str, int]:
    """Return how an order ends, and how many of its steps are completed."""
    late = approved in ("never", "waiting", "after timeout")
    if canceled == "in payment":
        return "canceled", 0
    if card == "expired card":
        return "CreditCardExpired", 0
    if canceled == "waiting" and late:
        return "canceled", 1
    if canceled == "after timeout" and approved in ("never", "after timeout"):
        return "canceled", 1
    if approved == "never":
        return "OrderExpired", 1
    if canceled in ("in reservation", "in delivery"):
        return "canceled", 1 if canceled == "in reservation" else 2
    return "fulfilled", 3


class Scenario:
    """One order, and what happens to it at which moment."""

    def __init__(
        self, server: WorkflowEnvironment, card: str, failures: int, approved: str, canceled: str
    ) -> None:
        """Get ready to start the order."""
        self.server, self.task_queue = server, f"orders-{uuid4()}"
        self.failures, self.approved, self.canceled = failures, approved, canceled
        cc_expiry = "12/99" if card == "valid card" else "12/23"
        self.order = new_order(f"order-{uuid4()}", cc_expiry=cc_expiry)
        self.handle: WorkflowHandle[OrderFulfillment, str]
        self.closed = asyncio.Event()

    async def reach(self, moment: str) -> None:
        """Cancel and approve the order, if it is time to."""
        if self.canceled == moment:
            await self.handle.cancel()
        for _ in range({moment: 1, f"twice {moment}": 2}.get(self.approved, 0)):
            with suppress(RPCError):  # A canceled order may be closed already.
                await self.handle.signal(OrderFulfillment.approve_order)

    async def reach_in_step(self, moment: str) -> None:
        """Do so in a step. If that cancels the order, the step ends after it."""
        await self.reach(moment)
        if self.canceled == moment:
            await self.closed.wait()
            # The server's clock stands still during a step, even after the order has ended.
            request = UnlockTimeSkippingRequest()
            await self.server.client.test_service.unlock_time_skipping(request)

    @activity.defn
    async def process_payment(self, order: Order) -> str:
        """Authorize the payment."""
        await self.reach_in_step("in payment")
        return activities.process_payment(order)

    @activity.defn
    async def reserve_inventory(self, order: Order) -> str:
        """Fail as often as chosen, then reserve the items."""
        if activity.info().attempt <= self.failures:
            raise ConnectionError("API is down")
        await self.reach_in_step("in reservation")
        return activities.reserve_inventory(order)

    @activity.defn
    async def deliver_order(self, order: Order) -> str:
        """Deliver the items."""
        await self.reach_in_step("in delivery")
        return activities.deliver_order(order)

    async def ending(self) -> str:
        """Return how the order ended."""
        try:
            await self.handle.result()
            return "fulfilled"
        except WorkflowFailureError as failure:
            cause = failure.cause
            if isinstance(cause, ActivityError) and isinstance(cause.cause, ApplicationError):
                return str(cause.cause.type)
            if isinstance(cause, ApplicationError):
                return str(cause.type)
            return "canceled" if isinstance(cause, CancelledError) else repr(cause)
        finally:
            self.closed.set()

    async def run(self) -> str:
        """Take the order to its end and return how it ended."""
        client, runner = self.server.client, UnsandboxedWorkflowRunner()  # faster, as no test of it
        steps = [self.process_payment, self.reserve_inventory, self.deliver_order]
        options = {"task_queue": self.task_queue, "activities": steps, "workflow_runner": runner}
        options["graceful_shutdown_timeout"] = timedelta(seconds=10)
        # Only a handle that start_workflow returns lets the clock skip.
        self.handle = await client.start_workflow(
            OrderFulfillment.run,
            self.order,
            id=self.order.order_id,
            task_queue=self.task_queue,
            execution_timeout=timedelta(days=1),  # or the clock could skip years
        )
        await self.reach("at start")
        async with new_worker(client, **options):
            if self.approved not in ("never", "waiting", "after timeout"):
                return await self.ending()

            async def waits_or_closed() -> str | None:
                events = (await read_history(self.handle)).events
                return next((name for name in ["TIMER_STARTED", *CLOSED] if name in events), None)

            if await wait_for(waits_or_closed, "timer or end") != "TIMER_STARTED":
                return await self.ending()
            await self.reach("waiting")
            if "waiting" in (self.approved, self.canceled) or (
                "after timeout" not in (self.approved, self.canceled)
            ):
                return await self.ending()
        await self.server.sleep(APPROVAL_TIMEOUT)
        await self.reach("after timeout")
        async with new_worker(client, **options):
            return await self.ending()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """One server for all orders, which run one after the other."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=shutil.which("temporal-test-server")
    ) as environment:
        yield environment


@pytest.mark.parametrize("canceled", CANCELS)
@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("failures", FAILURES)
@pytest.mark.parametrize("card", CARDS)
async def test_outcome(
    server: WorkflowEnvironment, card: str, failures: int, approved: str, canceled: str
) -> None:
    scenario = Scenario(server, card, failures, approved, canceled)
    async with asyncio.timeout(60):
        ending = await scenario.run()
    history = await read_history(scenario.handle)
    assert (ending, len(history.activities())) == expected(card, approved, canceled)
    assert history.events[-1] in CLOSED, "nothing happens after the end"
    steps = [event for event in history.events if event.startswith("ACTIVITY_TASK_SCHEDULED")]
    assert [step.split()[1] for step in steps] == STEPS[: len(steps)]
    assert history.activities() == STEPS[: len(history.activities())]
    if "reserve_inventory" in history.activities():
        assert history.retries == failures
        reserved = history.events.index("ACTIVITY_TASK_SCHEDULED reserve_inventory")
        assert history.events.index("WORKFLOW_EXECUTION_SIGNALED") < reserved
