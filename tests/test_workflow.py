"""What happens to an order, and how it ends, with a stub for the activities."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment

from activities import deliver_order, process_payment, reserve_inventory
from tests.helpers import RESULTS, Handle, new_worker, read_events, start, steps, wait_for_event
from workflow import APPROVAL_TIMEOUT, OrderFulfillment

Action = Callable[[Handle], Awaitable[None]]


async def approve(order: Handle) -> None:
    await order.signal(OrderFulfillment.approve_order)


async def cancel(order: Handle) -> None:
    await order.cancel()
    if activity.in_activity():  # Let the workflow handle it before the attempt ends.
        requested = "WORKFLOW_EXECUTION_CANCEL_REQUESTED"
        await wait_for_event(order, "WORKFLOW_TASK_COMPLETED", after=requested)


async def decline(_: Handle) -> None:
    raise ApplicationError("expired", type="Declined", non_retryable=True)


async def fail(_: Handle) -> None:
    """Fail three attempts."""
    if activity.info().attempt <= 3:
        raise ConnectionError("API is down")


FULFILLED = (
    "Order order-1 fulfilled: authorized $39.98, approved, reserved 2 x Temporal mug, delivered."
)
EXPIRED = "OrderExpired: order expired"
CANCELED = "canceled"
PAID = [process_payment.__name__]


@dataclass
class Case:
    """How an order ends, the steps it completes, and the actions at each stage."""

    ends: str = FULFILLED
    completes: Sequence[str] = tuple(RESULTS)
    before: Sequence[Action] = ()  # before a worker runs
    # at each attempt of a step
    during: Mapping[Callable[..., object], Sequence[Action]] = field(default_factory=dict)
    waiting: Sequence[Action] = ()  # while the order waits for its approval
    downtime: Sequence[Action] | None = None  # with no worker, after the timeout, if given


CASES = {
    "approved while it waits": Case(waiting=[approve]),
    "approved twice before it starts": Case(before=[approve, approve]),
    "approved during the payment": Case(during={process_payment: [approve]}),
    "approved after the timeout, in downtime": Case(downtime=[approve]),
    "inventory is down": Case(before=[approve], during={reserve_inventory: [fail]}),
    "payment is declined": Case("Declined: expired", [], during={process_payment: [decline]}),
    "not approved": Case(EXPIRED, PAID),
    "not approved, in downtime": Case(EXPIRED, PAID, downtime=[]),
    "canceled before it starts": Case(CANCELED, [], before=[cancel]),
    "canceled during the payment": Case(CANCELED, [], during={process_payment: [cancel]}),
    "canceled while it waits": Case(CANCELED, PAID, waiting=[cancel]),
    "approved, canceled in downtime": Case(CANCELED, PAID, downtime=[approve, cancel]),
    "canceled during the reservation": Case(
        CANCELED, PAID, before=[approve], during={reserve_inventory: [cancel]}
    ),
    # From its delivery on, an order can't be canceled.
    "canceled during delivery": Case(before=[approve], during={deliver_order: [cancel]}),
    "canceled during failing delivery": Case(
        before=[approve], during={deliver_order: [cancel, fail]}
    ),
}


async def run(case: Case, order: Handle, server: WorkflowEnvironment) -> str:
    """Run an order through a case. Return its result, or how it failed."""
    during = {step.__name__: actions for step, actions in case.during.items()}

    async def act(actions: Sequence[Action]) -> None:
        for action in actions:
            await action(order)

    async def act_during(name: str) -> None:
        await act(during.get(name, ()))

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
            if isinstance(failure.cause, CancelledError):
                return CANCELED
            return str(failure.cause.__cause__ or failure.cause)  # of an activity, or the workflow


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_order_ending_and_steps(case: Case, server: WorkflowEnvironment) -> None:
    order = await start(server.client)
    assert await run(case, order, server) == case.ends
    events = await read_events(order)
    assert steps(events, "COMPLETED") == list(case.completes)
    for step in steps(events, "SCHEDULED"):
        before = events[: events.index(f"ACTIVITY_TASK_SCHEDULED {step}")]
        if step in list(RESULTS)[1:]:  # all but the payment
            assert "WORKFLOW_EXECUTION_SIGNALED" in before, f"{step} without an approval"
