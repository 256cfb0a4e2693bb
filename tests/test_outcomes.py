"""Every combination of card, outage, approval and cancellation ends as ``expected`` says."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner

import activities
from shared import Order
from tests.helpers import STEPS, new_order, new_worker, read_history, wait_for_event
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

CARDS = {"valid card": "12/99", "expired card": "12/23"}
FAILURES = [0, 3]  # of the reservation
APPROVALS = ["never", "at start", "in payment", "twice in payment", "waiting", "after timeout"]
CANCELS = ["never", "in payment", "waiting", "after timeout", "in reservation", "in delivery"]
MOMENTS = ["in payment", "in reservation", "in delivery"]  # one in each step


def expected(card: str, approved: str, canceled: str) -> tuple[str, int]:
    """Return how an order ends, and how many of its steps are completed."""
    waits = approved in ("never", "waiting", "after timeout")
    if canceled == "in payment":
        return "canceled", 0
    if card == "expired card":
        return "CreditCardExpired", 0
    if canceled == "waiting" and waits:
        return "canceled", 1
    if canceled == "after timeout" and approved in ("never", "after timeout"):
        return "canceled", 1
    if approved == "never":
        return "OrderExpired", 1
    if canceled in ("in reservation", "in delivery"):
        return "canceled", 1 if canceled == "in reservation" else 2
    return "fulfilled", 3


@pytest.fixture(scope="module")
async def shared_server() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=shutil.which("temporal-test-server")
    ) as environment:
        yield environment


@pytest.mark.parametrize("canceled", CANCELS)
@pytest.mark.parametrize("approved", APPROVALS)
@pytest.mark.parametrize("failures", FAILURES)
@pytest.mark.parametrize("card", CARDS)
async def test_outcome(
    shared_server: WorkflowEnvironment, card: str, failures: int, approved: str, canceled: str
) -> None:
    client, closed, order_id = shared_server.client, asyncio.Event(), f"order-{uuid4()}"

    async def act(moment: str) -> None:
        """Cancel and approve the order, if due now."""
        if canceled == moment:
            await handle.cancel()
        for _ in range({moment: 1, f"twice {moment}": 2}.get(approved, 0)):
            with suppress(RPCError):  # A canceled order may be closed already.
                await handle.signal(OrderFulfillment.approve_order)

    def step(name: str, moment: str) -> Callable[[Order], Awaitable[str]]:
        @activity.defn(name=name)
        async def run(order: Order) -> str:
            if name == "reserve_inventory" and activity.info().attempt <= failures:
                raise ConnectionError("API is down")
            await act(moment)
            if canceled == moment:  # The step ends after the order.
                await closed.wait()
                # The server's clock stops during a step, even after the order has ended.
                await client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
            return str(getattr(activities, name)(order))

        return run

    options = {
        "task_queue": order_id,
        "activities": [step(*each) for each in zip(STEPS, MOMENTS, strict=True)],
        "workflow_runner": UnsandboxedWorkflowRunner(),  # faster
        "graceful_shutdown_timeout": timedelta(seconds=10),
    }

    async def ending() -> str:
        try:
            await handle.result()
            return "fulfilled"
        except WorkflowFailureError as failure:
            cause = failure.cause.__cause__ or failure.cause
            return "canceled" if isinstance(cause, CancelledError) else str(cause).split(":")[0]
        finally:
            closed.set()

    async def run() -> str:
        await act("at start")
        async with new_worker(client, **options):
            waits = approved in ("never", "waiting", "after timeout")
            if not waits or card == "expired card" or canceled == "in payment":
                return await ending()
            await wait_for_event(handle, "TIMER_STARTED")
            await act("waiting")
            if "waiting" in (approved, canceled) or "after timeout" not in (approved, canceled):
                return await ending()
        await shared_server.sleep(APPROVAL_TIMEOUT)
        await act("after timeout")
        async with new_worker(client, **options):
            return await ending()

    handle = await client.start_workflow(
        OrderFulfillment.run,
        new_order(order_id, cc_expiry=CARDS[card]),
        id=order_id,
        task_queue=order_id,
        execution_timeout=timedelta(days=1),  # or the clock could skip years
    )
    async with asyncio.timeout(60):
        outcome = await run()
    history = await read_history(handle)
    assert (outcome, len(history.activities())) == expected(card, approved, canceled)
    assert history.events[-1].startswith("WORKFLOW_EXECUTION_"), "no event follows the end"
    for state in ("SCHEDULED", "COMPLETED"):
        assert history.activities(state) == STEPS[: len(history.activities(state))]
    if "reserve_inventory" in history.activities():
        assert history.retries == failures
        reserved = history.events.index("ACTIVITY_TASK_SCHEDULED reserve_inventory")
        assert history.events.index("WORKFLOW_EXECUTION_SIGNALED") < reserved
