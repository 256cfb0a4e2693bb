"""A hundred orders, while workers are killed all the time and the server in the middle.

Each time is another storm: it prints its seed, and ``STORM_SEED`` brings the same one again, as far
as the machine's own timing allows.
"""

import asyncio
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from tests.acceptance.support import Stage
from tests.orders import FULFILLED, an_order
from workflow import OrderFulfillment

pytestmark = pytest.mark.slow(80)

T = TypeVar("T")
LOST = (
    RPCStatusCode.CANCELLED,  # the SDK waited for too long
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNKNOWN,
)
ORDERS = 100
STEPS = {"fulfilled": FULFILLED, "expired": Counter({"process_payment": 1}), "refused": Counter()}


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call until the server answers, as it is killed on the way."""
    while True:
        try:
            return await call()
        except RPCError as error:
            if error.status not in LOST:
                raise
        await asyncio.sleep(0.5)


class Storm:
    """What happens to the orders, and what people were told meanwhile."""

    def __init__(self, stage: Stage, seed: int) -> None:
        """Place the orders on a stage, later."""
        self.stage = stage
        self.random = random.Random(seed)
        self.acknowledged: Counter[str] = Counter()
        self.reported: dict[str, str] = {}
        self.kills = 0

    async def place(self, number: int) -> None:
        """Start an order and approve it, twice, or not at all; wait for what becomes of it."""
        await asyncio.sleep(self.random.uniform(0, 10))
        workflow_id = f"order-{number:03}"
        card = "12/23" if expected(number) == "refused" else "12/99"
        order = an_order(workflow_id, cc_expiry=card, quantity=number % 7 + 1)
        with suppress(WorkflowAlreadyStartedError):  # by a call whose answer was lost
            await persistently(lambda: self.stage.start_order(order))
        approvals = 0 if expected(number) == "expired" else 2 if number % 3 == 0 else 1
        for _ in range(approvals):
            await asyncio.sleep(self.random.uniform(0, 5))  # people take their time
            try:
                await persistently(
                    lambda: self.handle(workflow_id).signal(OrderFulfillment.approve_order)
                )
                self.acknowledged[workflow_id] += 1
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:  # closed: refused, say
                    raise
        self.reported[workflow_id] = await self.outcome(workflow_id)

    def handle(self, workflow_id: str) -> WorkflowHandle[OrderFulfillment, str]:
        """Return the handle of an order, on the server of the moment."""
        return self.stage.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)

    async def outcome(self, workflow_id: str) -> str:
        """Wait for the end of an order and return its result, or its failure."""
        try:
            return str(await persistently(lambda: self.handle(workflow_id).result()))
        except WorkflowFailureError as failure:
            return str(failure.cause.__cause__ or failure.cause)

    async def kill_workers(self) -> None:
        """Kill one of two workers every few seconds, and start another, until all is closed."""
        workers = [await self.stage.worker(), await self.stage.worker()]
        while len(self.reported) < ORDERS:
            await asyncio.sleep(self.random.uniform(2, 4))
            victim = workers.pop(self.random.randrange(2))
            await victim.kill()
            self.kills += 1
            workers.append(await self.stage.worker())

    async def kill_server(self) -> None:
        """Kill the server in the middle; its database file stays."""
        await asyncio.sleep(self.random.uniform(8, 15))
        assert self.stage.server
        await self.stage.server.kill()
        await self.stage.start_server()


def expected(number: int) -> str:
    """Return what an order must come to."""
    return {3: "refused", 7: "expired"}.get(number % 10, "fulfilled")


async def test_storm(stage_with_own_server: Stage) -> None:
    stage = stage_with_own_server
    seed = int(os.environ.get("STORM_SEED") or random.randrange(1_000_000))
    print(f"STORM_SEED={seed}")
    storm = Storm(stage, seed)
    async with asyncio.timeout(600), asyncio.TaskGroup() as group:
        group.create_task(storm.kill_workers())
        group.create_task(storm.kill_server())
        for number in range(ORDERS):
            group.create_task(storm.place(number))

    table: Counter[str] = Counter()
    for number in range(ORDERS):
        workflow_id, what = f"order-{number:03}", expected(number)
        history = await stage.history(workflow_id)
        assert re.search(what.replace("refused", "CreditCard"), storm.reported[workflow_id])
        assert await storm.outcome(workflow_id) == storm.reported[workflow_id], "it stays"
        assert history.completed == STEPS[what], workflow_id
        assert history.approved_before_reservation, workflow_id
        recorded = history.events["WORKFLOW_EXECUTION_SIGNALED"]
        assert recorded >= storm.acknowledged[workflow_id], "an approval was lost"
        table[what] += 1
        table["attempts lost with a worker"] += history.retries
    amounts = defaultdict(set)
    for process in stage.processes:
        for amount, key in re.findall(r"charging (\S+), idempotency key (\S+)", process.stderr):
            amounts[key].add(amount)
    assert [key for key in amounts if len(amounts[key]) != 1] == []
    assert len(amounts) == ORDERS - table["refused"]
    statuses = Counter([each.status async for each in stage.client.list_workflows()])
    assert statuses[WorkflowExecutionStatus.COMPLETED] == table["fulfilled"] == 80
    table["workers killed"] = storm.kills
    print("\n".join(f"{name:30}{count:5}" for name, count in table.items()))
    assert storm.kills > 5
