"""What an order survives: workers and servers that die, at every moment."""

import asyncio
import contextlib
import itertools
import random
import signal
from collections import Counter

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from tests.acceptance.support import WAITING, Process, Stage
from tests.orders import FULFILLED, History, an_order
from workflow import OrderFulfillment

pytestmark = pytest.mark.slow


async def finishes_elsewhere(stage: Stage, worker: Process, moment: str) -> None:
    """Kill the worker once it logs a moment; check that another one finishes the order."""
    starter, workflow_id = await stage.starter()
    if moment != WAITING and "process_payment" not in moment:
        await worker.shows(WAITING)
        await stage.approve(workflow_id)
    await worker.shows(moment)
    await worker.kill()
    if moment == WAITING or "process_payment" in moment:
        await stage.approve(workflow_id)
    await stage.worker()
    assert await starter.ends() == 0
    history = await stage.history(workflow_id)
    assert history.completed == FULFILLED
    assert history.scheduled == FULFILLED


async def test_no_worker_before_the_payment(stage: Stage) -> None:
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    await stage.worker()
    assert await starter.ends() == 0
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_worker_killed_in_the_payment(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "process_payment charging")


async def test_worker_killed_while_waiting_for_approval(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), WAITING)


async def test_worker_killed_in_the_reservation(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "reserve_inventory reserving")


async def test_worker_killed_in_the_delivery(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "deliver_order delivering")


async def waits_without_worker(stage: Stage) -> tuple[Process, str]:
    """Start an order, and kill its worker once the server has the timer of its approval."""
    stage.shorten(approval=5)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.reaches(workflow_id, "TIMER_STARTED")  # the worker's line comes a little earlier
    await worker.kill()
    return starter, workflow_id


async def test_approval_while_the_worker_is_down_past_the_deadline(stage: Stage) -> None:
    starter, workflow_id = await waits_without_worker(stage)
    await stage.approve(workflow_id)
    await stage.reaches(workflow_id, "TIMER_FIRED", within=60)
    await stage.worker()
    assert await starter.ends() == 0
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_no_approval_while_the_worker_is_down_past_the_deadline(stage: Stage) -> None:
    starter, workflow_id = await waits_without_worker(stage)
    await stage.reaches(workflow_id, "TIMER_FIRED", within=60)
    await stage.worker()
    assert await starter.ends() == 1
    assert starter.stderr == "Workflow execution failed: OrderExpired: order expired\n"
    assert (await stage.history(workflow_id)).scheduled == {"process_payment": 1}


async def test_server_killed_while_an_order_waits(stage_with_own_server: Stage) -> None:
    stage = stage_with_own_server
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    assert stage.server
    await stage.server.kill()
    assert await starter.ends(30) == 1
    assert starter.stderr.startswith("UNAVAILABLE: ")
    assert starter.stderr.count("\n") == 1

    await stage.start_server()
    await stage.approve(workflow_id)
    result = await stage.temporal("workflow", "result", "--workflow-id", workflow_id)
    assert await result.ends() == 0
    assert f"Order {workflow_id} fulfilled" in result.stdout
    assert (await stage.history(workflow_id)).completed == FULFILLED
    worker.send(signal.SIGTERM)
    assert await worker.ends() == 0


Handle = WorkflowHandle[OrderFulfillment, str]


class Storm:
    """A hundred orders, and what each must come to."""

    def __init__(self, stage: Stage) -> None:
        """Place the orders on a stage, later."""
        self.stage = stage
        self.random = random.Random(300)
        self.outcomes: dict[str, str] = {}

    async def place(self, number: int) -> None:
        """Start an order and approve it, twice, or not at all."""
        card = "12/23" if number % 10 == 3 else "12/99"
        order = an_order(f"order-{number:03}", cc_expiry=card)
        handle = await self.stage.start_order(order)
        self.outcomes[order.order_id] = "refused" if card == "12/23" else "fulfilled"
        if number % 10 == 7:
            self.outcomes[order.order_id] = "expired"
            return
        for _ in range(2 if number % 3 == 0 else 1):
            await asyncio.sleep(self.random.uniform(0, 5))  # people take their time
            with contextlib.suppress(RPCError):  # a refused order takes no approval
                await handle.signal(OrderFulfillment.approve_order)

    async def kill_workers(self) -> int:
        """Kill one of two workers every few seconds, and start another; return how many."""
        workers = [await self.stage.worker(), await self.stage.worker()]
        for kills in itertools.count():
            closed = [status is not None for status in await self.statuses()]
            if len(closed) == 100 and all(closed):
                return kills
            await asyncio.sleep(self.random.uniform(2, 4))  # as the "every few seconds"
            victim = workers.pop(self.random.randrange(2))
            await victim.kill()
            workers.append(await self.stage.worker())
        raise AssertionError("unreachable")

    async def statuses(self) -> list[WorkflowExecutionStatus | None]:
        """Return the status of each order, None while it is open."""
        found = []
        async for execution in self.stage.client.list_workflows():
            running = execution.status == WorkflowExecutionStatus.RUNNING
            found.append(None if running else execution.status)
        return found


async def outcome(handle: Handle) -> str:
    """Return what an order came to."""
    try:
        result = await handle.result()
    except WorkflowFailureError as failure:
        reason = str(failure.cause.__cause__ or failure.cause)
        return {"OrderExpired: order expired": "expired"}.get(reason, "refused")
    return "fulfilled" if f"{handle.id} fulfilled" in result else result


@pytest.mark.long
async def test_storm(stage: Stage) -> None:
    storm = Storm(stage)
    async with asyncio.timeout(170), asyncio.TaskGroup() as group:
        killing = group.create_task(storm.kill_workers())
        for number in range(100):
            group.create_task(storm.place(number))

    table: Counter[str] = Counter()
    for workflow_id, expected in storm.outcomes.items():
        handle = stage.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)
        found, history = await outcome(handle), await stage.history(workflow_id)
        assert found == expected, workflow_id
        assert history.completed == expected_steps(expected), workflow_id
        assert approved_in_time(history), workflow_id
        table[found] += 1
        table["attempts lost with a worker"] += history.lost_attempts
    table["workers killed"] = killing.result()
    print("\n" + "\n".join(f"{name:30}{count:5}" for name, count in table.items()))
    assert table["fulfilled"] == 80
    assert table["refused"] == table["expired"] == 10
    assert table["workers killed"] > 5


def expected_steps(outcome: str) -> Counter[str]:
    """Return which activities complete, and how often, for an outcome."""
    steps = {"fulfilled": FULFILLED, "expired": Counter({"process_payment": 1})}
    return steps.get(outcome, Counter())


def approved_in_time(history: History) -> bool:
    """Tell whether an order was delivered only after an approval."""
    return not history.completed["deliver_order"] or history.signals_before_delivery > 0
