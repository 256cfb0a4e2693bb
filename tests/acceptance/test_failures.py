"""Orders survive workers and servers that are killed, suspended or late, at any moment."""

import asyncio
import os
import random
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from shared import TASK_QUEUE, Order
from tests.acceptance.helpers import AUTHORIZING, WAITING, Sample
from tests.helpers import STEPS, new_order
from workflow import OrderFulfillment


async def test_worker_killed_in_each_step(sample: Sample) -> None:
    sample.shorten(latency=1)
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    for step in ("process_payment authorizing", "reserve_inventory", "deliver_order"):
        worker = await sample.worker()
        await worker.prints(step)
        await worker.kill()
    await sample.worker()
    assert await starter.exits() == 0
    history = await sample.history(workflow_id)
    assert history.activities("SCHEDULED") == history.activities() == STEPS


async def test_another_worker_retries_suspended_attempt(sample: Sample) -> None:
    # With free slots, a suspended worker may take the next attempt, too.
    sample.edit("worker.py", "task_queue=", "max_concurrent_activities=1, task_queue=")
    first = await sample.worker()
    starter, workflow_id = await sample.starter()
    await first.prints(AUTHORIZING)
    first.send(signal.SIGSTOP)
    second = await sample.worker()
    await second.prints("process_payment attempt 2 authorizing")
    await sample.event(workflow_id, "ACTIVITY_TASK_COMPLETED process_payment")
    first.send(signal.SIGCONT)
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    assert (await sample.history(workflow_id)).activities() == STEPS


async def test_starter_worker_and_server_start_in_any_order(own_server: Sample) -> None:
    own_server.shorten()
    starter = await own_server.start(sys.executable, "starter.py")
    worker = await own_server.start(sys.executable, "worker.py")
    await starter.prints("Waiting up to 30 s for a Temporal server at localhost")
    await worker.prints("Waiting up to 30 s for a Temporal server at localhost")
    await own_server.serve()
    workflow_id = (await starter.prints(r"Started workflow (\S+)"))[1]
    await worker.prints(WAITING)
    await own_server.approve(workflow_id)
    assert await starter.exits() == 0
    assert starter.stderr.count("\n") == 1


async def test_order_survives_a_killed_server(own_server: Sample) -> None:
    own_server.shorten()
    server = await own_server.serve()
    worker, stopped = await own_server.worker(), await own_server.worker()
    starter, workflow_id = await own_server.starter()
    await own_server.event(workflow_id, "TIMER_STARTED")
    await server.kill()
    stopped.send(signal.SIGTERM)
    assert await stopped.exits(12) == 0
    assert await starter.exits() == 1
    assert re.match(r"UN\w+: ", starter.stderr.splitlines()[-1])
    await own_server.serve()
    await own_server.approve(workflow_id)
    assert "fulfilled" in await own_server.handle(workflow_id).result()
    # A short outage mustn't fill the terminal.
    assert all(workflow_id in line for line in worker.stderr.splitlines())


async def until_answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """Retry a call until the killed server is back."""
    while True:
        with suppress(RPCError):
            return await call()
        await asyncio.sleep(0.5)


async def test_chaos(own_server: Sample) -> None:
    """Forty orders, while workers are killed all the time, and the server once.

    Set CHAOS_SEED to the printed number to kill them at the same times again.
    """
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")
    chance, orders = random.Random(seed), [new_order(f"order-{number}") for number in range(40)]
    own_server.shorten(latency=0.5)
    server = await own_server.serve()
    workers, killed, results = [await own_server.worker(), await own_server.worker()], 0, []

    async def customer(order: Order) -> None:
        async def start() -> None:
            with suppress(WorkflowAlreadyStartedError):  # by a call whose answer was lost
                await own_server.client.start_workflow(
                    OrderFulfillment.run, order, id=order.order_id, task_queue=TASK_QUEUE
                )

        await asyncio.sleep(chance.uniform(0, 8))
        await until_answered(start)
        await asyncio.sleep(chance.uniform(0, 5))
        await until_answered(lambda: own_server.handle(order.order_id).signal("approve_order"))
        results.append(await until_answered(lambda: own_server.handle(order.order_id).result()))

    async def kill_server() -> None:
        await asyncio.sleep(chance.uniform(5, 10))
        await server.kill()
        await own_server.serve()

    async with asyncio.timeout(200), asyncio.TaskGroup() as group:
        for task in (kill_server(), *map(customer, orders)):
            group.create_task(task)
        while len(results) < len(orders):
            await asyncio.sleep(chance.uniform(2, 4))
            await workers.pop(chance.randrange(2)).kill()
            workers.append(await own_server.worker())
            killed += 1
    assert killed > 3
    assert all("fulfilled" in result for result in results)
    for order in orders:
        assert (await own_server.history(order.order_id)).activities() == STEPS
