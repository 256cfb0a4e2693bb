"""All that can happen to an order, in every combination.

Whatever comes, and whenever: the order ends as a model of a few lines says, and its event history
shows each step at most once, in turn, and none that was not approved. The fast tests take a sample;
``uv run pytest tests/test_interleavings.py`` runs all and counts them.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, NamedTuple, get_args
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotPermit,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerTuner,
)

import activities
from shared import APPROVAL_TIMEOUT, Order
from tests.orders import an_order, read_history, until
from tests.single_batch import with_single_batch
from workflow import OrderFulfillment

pytestmark = pytest.mark.usefixtures("_no_latency")

Card = Literal["good", "expired"]
Approved = Literal[
    "never", "at start", "in payment", "twice in payment", "waiting", "after timeout"
]
Cancelled = Literal[
    "never", "in payment", "waiting", "after timeout", "in reservation", "in delivery"
]

IN_TURN = [
    f"{what} {step}"
    for step in ("process_payment", "reserve_inventory", "deliver_order")
    for what in ("SCHEDULED", "COMPLETED")
]
CLOSED = [f"WORKFLOW_EXECUTION_{how}" for how in ("COMPLETED", "FAILED", "CANCELED")]


class Choices(NamedTuple):
    """What happens to one order."""

    card: Card
    approved: Approved
    failures: int  # of the reservation, before it succeeds
    cancelled: Cancelled
    restarts: bool  # a new worker for each workflow task
    single_batch: bool  # the SDK's next default

    def __str__(self) -> str:
        """Return them as the name of a test."""
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items())


def model(choices: Choices) -> tuple[str, list[str]]:
    """Say how an order ends, and which steps it completes.

    A cancellation ends the order at once. A step that runs then is not interrupted, but its end no
    longer counts.
    """
    if choices.cancelled == "in payment":
        return "cancelled", []
    if choices.card == "expired":
        return "CreditCardExpired", []
    if choices.cancelled == "waiting" and choices.approved in ("never", "waiting", "after timeout"):
        return "cancelled", ["process_payment"]
    if choices.cancelled == "after timeout" and choices.approved in ("never", "after timeout"):
        return "cancelled", ["process_payment"]
    if choices.approved == "never":
        return "OrderExpired", ["process_payment"]
    if choices.cancelled == "in reservation":
        return "cancelled", ["process_payment"]
    if choices.cancelled == "in delivery":
        return "cancelled", ["process_payment", "reserve_inventory"]
    return "fulfilled", ["process_payment", "reserve_inventory", "deliver_order"]


class OneTask(CustomSlotSupplier):
    """Lets a worker take one task in its life."""

    def __init__(self) -> None:
        """Have the only slot free."""
        self.taken, self.done = False, asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def reserve_slot(self, ctx: Any) -> SlotPermit:
        """Give the slot to the first who asks; all others wait until the worker stops."""
        if self.taken:
            await asyncio.Event().wait()
        self.taken = True
        return SlotPermit()

    def try_reserve_slot(self, ctx: Any) -> None:
        """Give nothing, as reserve_slot does it."""

    def mark_slot_used(self, ctx: Any) -> None:
        """Do nothing."""

    def release_slot(self, ctx: Any) -> None:
        """Note that the task is done; the SDK calls this in a thread of its own."""
        self._loop.call_soon_threadsafe(self.done.set)


class Play:
    """One order, and all that happens to it."""

    def __init__(self, environment: WorkflowEnvironment, choices: Choices) -> None:
        """Take the server and the choices."""
        self.environment, self.client, self.choices = environment, environment.client, choices
        self.task_queue = f"orders-{uuid4()}"
        cc_expiry = "12/99" if choices.card == "good" else "12/23"
        self.order = an_order(f"order-{uuid4()}", cc_expiry=cc_expiry)
        self.handle = self.client.get_workflow_handle(self.order.order_id)
        self.closed = asyncio.Event()

    async def happens(self, moment: str) -> None:
        """Cancel and approve the order, if this is the moment for it."""
        if self.choices.cancelled == moment:
            await self.handle.cancel()
        for _ in range({moment: 1, f"twice {moment}": 2}.get(self.choices.approved, 0)):
            with suppress(RPCError):  # an order that was just cancelled may be closed already
                await self.handle.signal(OrderFulfillment.approve_order)

    async def happens_during_step(self, moment: str) -> None:
        """Do so while a step runs; when that cancels the order, the step ends after the order."""
        await self.happens(moment)
        if self.choices.cancelled == moment:
            await self.closed.wait()
            # The server stops its clock for a step; for good, if the step outlives its order.
            await self.client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())

    @activity.defn
    async def process_payment(self, order: Order) -> str:
        """Charge the credit card."""
        await self.happens_during_step("in payment")
        return await activities.process_payment(order)

    @activity.defn
    async def reserve_inventory(self, order: Order) -> str:
        """Fail as often as chosen, then reserve the items."""
        if activity.info().attempt <= self.choices.failures:
            raise ConnectionError("API is down")
        await self.happens_during_step("in reservation")
        return await activities.reserve_inventory(order)

    @activity.defn
    async def deliver_order(self, order: Order) -> str:
        """Deliver the items."""
        await self.happens_during_step("in delivery")
        return await activities.deliver_order(order)

    def workflow_worker(self, **options: Any) -> Worker:
        """Return a worker for the workflow alone, which replays it at each workflow task."""
        worker = Worker(
            self.client,
            task_queue=self.task_queue,
            workflows=[OrderFulfillment],
            # The sandbox is not the point, and one for each replay takes a tenth of the time.
            workflow_runner=UnsandboxedWorkflowRunner(),
            identity=str(uuid4()),
            max_cached_workflows=0,
            workflow_failure_exception_types=[workflow.NondeterminismError],
            **options,
        )
        return with_single_batch(worker) if self.choices.single_batch else worker

    async def restart(self) -> None:
        """Run a new worker for each workflow task."""
        while True:
            one_task, unused = OneTask(), FixedSizeSlotSupplier(1)
            tuner = WorkerTuner.create_composite(
                workflow_supplier=one_task,
                activity_supplier=unused,
                local_activity_supplier=unused,
                nexus_supplier=unused,
            )
            async with self.workflow_worker(tuner=tuner):
                await one_task.done.wait()

    @asynccontextmanager
    async def workers(self) -> AsyncIterator[None]:
        """Run a worker for the steps, and one or many for the workflow."""
        steps = [self.process_payment, self.reserve_inventory, self.deliver_order]
        grace = timedelta(seconds=10)  # for a step that ends after its order
        async with Worker(
            self.client,
            task_queue=self.task_queue,
            activities=steps,
            graceful_shutdown_timeout=grace,
        ):
            if not self.choices.restarts:
                async with self.workflow_worker():
                    yield
                return
            restarts = asyncio.create_task(self.restart())
            try:
                yield
            finally:
                restarts.cancel()
                await asyncio.wait([restarts])

    async def first_of(self, *events: str) -> str:
        """Wait until one of these events is in the history, and return it."""

        async def found() -> list[str]:
            in_order = (await read_history(self.handle)).in_order
            return [event for event in events if event in in_order]

        first: list[str] = await until(found, 60, " or ".join(events), every=0.01)
        return first[0]

    async def ending(self) -> str:
        """Wait for the result, with the clock free to skip, and return how the order ended."""
        try:
            await self.handle.result()
            return "fulfilled"
        except WorkflowFailureError as failure:
            cause: BaseException | None = failure.cause
            if isinstance(cause, ActivityError):
                cause = cause.cause
            if isinstance(cause, ApplicationError):
                return str(cause.type)
            return "cancelled" if isinstance(cause, CancelledError) else repr(cause)
        finally:
            self.closed.set()

    async def to_its_end(self) -> str:
        """Start the order, let happen what was chosen, and return how the order ended."""
        self.handle = await self.client.start_workflow(
            OrderFulfillment.run,
            self.order,
            id=self.order.order_id,
            task_queue=self.task_queue,
            # To its end the clock skips when all is done; by default that takes ten years.
            execution_timeout=timedelta(days=1),
        )
        await self.happens("at start")
        approved, cancelled, waits = self.choices.approved, self.choices.cancelled, False
        async with self.workers():
            if approved in ("never", "waiting", "after timeout"):
                waits = await self.first_of("TIMER_STARTED", *CLOSED) == "TIMER_STARTED"
            if waits:
                await self.happens("waiting")
            late = "after timeout" in (approved, cancelled) and "waiting" not in (
                approved,
                cancelled,
            )
            if not waits or not late:
                return await self.ending()
        await self.environment.sleep(APPROVAL_TIMEOUT)
        await self.first_of("TIMER_FIRED")
        await self.happens("after timeout")
        async with self.workers():
            return await self.ending()


ALL = [
    Choices(*choices)
    for choices in itertools.product(
        get_args(Card),
        get_args(Approved),
        (0, 3),
        get_args(Cancelled),
        (False, True),
        (False, True),
    )
]
SAMPLE = ALL[::31]  # every value of every choice is in it


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param(choices, id=str(choices), marks=() if choices in SAMPLE else pytest.mark.slow)
        for choices in ALL
    ],
)
async def test_order(shared_time_skipping: WorkflowEnvironment, choices: Choices) -> None:
    play = Play(shared_time_skipping, choices)
    async with asyncio.timeout(120):
        ending = await play.to_its_end()
    history = await read_history(play.handle)
    events = [event.removeprefix("ACTIVITY_TASK_") for event in history.in_order]
    steps = [event for event in events if event.startswith(("SCHEDULED ", "COMPLETED "))]

    expected_ending, expected_steps = model(choices)
    assert ending == expected_ending
    assert [step[10:] for step in steps if step.startswith("COMPLETED")] == expected_steps
    assert steps == IN_TURN[: len(steps)], "no step twice, before its time or left out"
    assert history.approved_before_reservation
    if "reserve_inventory" in expected_steps:
        assert history.retries == choices.failures
    assert events[-1] in CLOSED, "nothing after the end"
    if choices.restarts:
        assert len(history.workers) == len(set(history.workers)), "a new worker for each task"
