"""What happens to an order, and how it ends, with a stub for the activities."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment

from activities import deliver_order, process_payment, reserve_inventory
from tests.helpers import Handle, new_worker, read_events, start, steps, wait_for_event
from workflow import APPROVAL_TIMEOUT, ATTEMPT_TIMEOUT, OrderFulfillment

Action = Callable[[Handle, WorkflowEnvironment], Awaitable[None]]


async def approve(order: Handle, _: WorkflowEnvironment) -> None:
    await order.signal(OrderFulfillment.approve_order)


async def cancel(order: Handle, _: WorkflowEnvironment) -> None:
    await order.cancel()
    if activity.in_activity():  # Let the workflow handle it before the activity ends.
        requested = "WORKFLOW_EXECUTION_CANCEL_REQUESTED"
        await wait_for_event(order, "WORKFLOW_TASK_COMPLETED", after=requested)


async def decline(_: Handle, __: WorkflowEnvironment) -> None:
    raise ApplicationError("expired", type="CreditCardExpired", non_retryable=True)


async def fail(_: Handle, __: WorkflowEnvironment) -> None:
    """Fail three attempts."""
    if activity.info().attempt <= 3:
        raise ConnectionError("API is down")


async def time_out(_: Handle, server: WorkflowEnvironment) -> None:
    """Let one attempt time out."""
    if activity.info().attempt == 1:
        await server.sleep(ATTEMPT_TIMEOUT)


ALL = [process_payment, reserve_inventory, deliver_order]
FULFILLED = (
    "Order order-1 fulfilled: authorized $39.98, approved, reserved 2 x Temporal mug, delivered."
)
EXPIRED = "OrderExpired: order expired"
DECLINED = "CreditCardExpired: expired"
CANCELED = "canceled"


@dataclass
class Case:
    """How an order ends, the steps that it completes, and the actions at each moment of it."""

    ends: str = FULFILLED
    completes: Sequence[Callable[..., str]] = field(default_factory=lambda: ALL)
    before: Sequence[Action] = ()  # before a worker runs
    during: Mapping[Callable[..., str], Sequence[Action]] = field(default_factory=dict)
    waiting: Sequence[Action] = ()  # while the order waits for its approval
    downtime: Sequence[Action] | None = None  # while no worker runs, after the approval timeout


CASES = {
    "approved while it waits": Case(waiting=[approve]),
    "approved twice before it starts": Case(before=[approve, approve]),
    "approved during the payment": Case(during={process_payment: [approve]}),
    "approved after the timeout, in a downtime": Case(downtime=[approve]),
    "inventory is down": Case(before=[approve], during={reserve_inventory: [fail]}),
    "payment is declined": Case(DECLINED, [], during={process_payment: [decline]}),
    "not approved": Case(EXPIRED, [process_payment]),
    "not approved, in a downtime": Case(EXPIRED, [process_payment], downtime=[]),
    "canceled before it starts": Case(CANCELED, [], before=[cancel]),
    "canceled during the payment": Case(CANCELED, [], during={process_payment: [cancel]}),
    "canceled while it waits": Case(CANCELED, [process_payment], waiting=[cancel]),
    "canceled in a downtime": Case(CANCELED, [process_payment], downtime=[approve, cancel]),
    "canceled during the reservation": Case(
        CANCELED, [process_payment], before=[approve], during={reserve_inventory: [cancel]}
    ),
    # From its delivery on, an order can't be canceled.
    "canceled in delivery": Case(before=[approve], during={deliver_order: [cancel]}),
    "canceled in failing delivery": Case(before=[approve], during={deliver_order: [cancel, fail]}),
    "canceled in slow delivery": Case(before=[approve], during={deliver_order: [cancel, time_out]}),
}


async def run(case: Case, order: Handle, server: WorkflowEnvironment) -> str:
    """Run an order through a case. Return its result, or how it failed."""

    async def act(actions: Sequence[Action]) -> None:
        for action in actions:
            await action(order, server)

    async def act_during(name: str) -> None:
        for step, actions in case.during.items():
            if step.__name__ == name:
                await act(actions)

    await act(case.before)
    if case.downtime is not None:
        async with new_worker(server.client, act_during):
            await wait_for_event(order, "TIMER_STARTED approval")
        await server.sleep(APPROVAL_TIMEOUT)
        await wait_for_event(order, "TIMER_FIRED approval")
        await act(case.downtime)
    async with new_worker(server.client, act_during):
        if case.waiting:
            await wait_for_event(order, "TIMER_STARTED approval")
            await act(case.waiting)
        try:
            return await order.result()
        except WorkflowFailureError as failure:
            cause = failure.cause.__cause__ or failure.cause
            return CANCELED if isinstance(cause, CancelledError) else str(cause)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_order(case: Case, server: WorkflowEnvironment) -> None:
    order = await start(server.client)
    assert await run(case, order, server) == case.ends
    events = await read_events(order)
    assert steps(events, "COMPLETED") == [step.__name__ for step in case.completes]
    if f"ACTIVITY_TASK_SCHEDULED {reserve_inventory.__name__}" in events:
        reserved = events.index(f"ACTIVITY_TASK_SCHEDULED {reserve_inventory.__name__}")
        assert "WORKFLOW_EXECUTION_SIGNALED" in events[:reserved], "reserved without an approval"
