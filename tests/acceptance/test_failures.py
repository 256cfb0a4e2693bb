"""Orders survive workers and servers that are killed, suspended or late, at any moment."""

import asyncio
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from tests.acceptance.conftest import Server
from tests.acceptance.helpers import AUTHORIZING, WAITING, Program, Sample, copy_sample
from tests.helpers import STEPS, new_order
from workflow import OrderFulfillment

T = TypeVar("T")


async def test_worker_killed_in_each_step(sample: Sample) -> None:
    """Four workers on task queues of their own, at the same time."""

    async def kill_at(moment: str) -> None:
        folder = copy_sample(sample.folder.parent / moment.split()[0])
        one = Sample(folder, sample.client, sample.environment, sample.programs)
        one.edit("shared.py", '"order-fulfillment"', f'"{moment}"')
        worker = await one.worker()
        starter, workflow_id = await one.starter()
        if moment.startswith(("reserve", "deliver")):
            await one.approve(workflow_id)
        await worker.prints(moment)
        await worker.kill()
        if moment in (AUTHORIZING, WAITING):
            await one.approve(workflow_id)
        await one.worker()
        assert await starter.exits() == 0, moment
        history = await one.history(workflow_id)
        assert history.activities("SCHEDULED") == history.activities() == STEPS, moment

    moments = (AUTHORIZING, WAITING, "reserve_inventory reserving", "deliver_order delivering")
    await asyncio.gather(*[kill_at(moment) for moment in moments])


async def test_order_expires_only_when_a_worker_runs(sample: Sample) -> None:
    sample.shorten(approval=2)
    worker = await sample.worker()
    orders = [await sample.starter(), await sample.starter()]
    for _, workflow_id in orders:
        await sample.event(workflow_id, "TIMER_STARTED")
    await worker.kill()
    for _, workflow_id in orders:
        await sample.event(workflow_id, "TIMER_FIRED")
    await sample.approve(orders[0][1])
    await sample.worker()
    assert await orders[0][0].exits() == 0
    assert await orders[1][0].exits() == 1
    assert orders[1][0].stderr == f"Order {orders[1][1]} FAILED: OrderExpired: order expired\n"


async def test_suspended_worker_authorizes_again_but_the_order_continues_once(
    sample: Sample,
) -> None:
    first = await sample.worker()
    starter, workflow_id = await sample.starter()
    await first.prints(AUTHORIZING)
    first.send(signal.SIGSTOP)
    second = await sample.worker()
    await second.prints(f"attempt 2 {AUTHORIZING.split()[1]}")
    await sample.event(workflow_id, "ACTIVITY_TASK_COMPLETED process_payment")
    first.send(signal.SIGCONT)
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    assert (await sample.history(workflow_id)).activities() == STEPS


async def test_worker_suspended_past_the_deadline_reports_no_expiry(sample: Sample) -> None:
    """The server turns down what the worker did too late, so the worker mustn't log it."""
    sample.shorten(approval=2)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.event(workflow_id, "TIMER_STARTED")
    worker.send(signal.SIGSTOP)
    await sample.event(workflow_id, "TIMER_FIRED")
    await sample.approve(workflow_id)
    worker.send(signal.SIGCONT)
    assert await starter.exits() == 0
    assert "expire" not in worker.output


async def test_starter_worker_and_server_start_in_any_order(server: Server) -> None:
    server.shorten()
    starter = await server.script("starter.py")
    worker = await server.script("worker.py")
    for script in (starter, worker):
        await script.prints(f"Waiting up to 30 s for a Temporal server at localhost:{server.port} ")
    await server.serve()
    workflow_id = (await starter.prints(r"Started workflow (\S+)"))[1]
    await worker.prints(WAITING)
    await server.approve(workflow_id)
    assert await starter.exits() == 0
    assert starter.stderr.count("\n") == 1
    assert "uv run temporal server start-dev" in starter.stderr


async def test_order_survives_a_killed_server(server: Server) -> None:
    server.shorten()
    dev_server = await server.serve()
    worker = await server.worker()
    starter, workflow_id = await server.starter()
    await worker.prints(WAITING)
    await dev_server.kill()
    assert await starter.exits() == 1
    assert re.search(r"^UN\w+: .*\n\Z", starter.stderr, re.M)
    await server.serve()
    await server.approve(workflow_id)
    result = await server.temporal("workflow", "result", "--workflow-id", workflow_id)
    assert f"Order {workflow_id} fulfilled" in result.stdout
    # A lost server mustn't fill the terminal.
    assert all(workflow_id in line for line in worker.stderr.splitlines())
    worker.send(signal.SIGTERM)
    assert await worker.exits() == 0


async def test_worker_stops_while_its_server_is_gone(server: Server) -> None:
    dev_server = await server.serve()
    worker = await server.worker()
    await server.starter()
    await worker.prints(AUTHORIZING)
    await dev_server.kill()
    worker.send(signal.SIGTERM)
    assert await worker.exits(12) == 0


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call to a server that is killed meanwhile until it answers."""
    lost = [RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED]
    lost += [RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN]
    while True:
        try:
            return await call()
        except RPCError as error:
            if error.status not in lost:
                raise
        await asyncio.sleep(0.5)


async def test_chaos(server: Server, request: pytest.FixtureRequest) -> None:
    """Forty orders, while workers are killed all the time, and the server once.

    Set CHAOS_SEED to the printed number to kill them at the same times again.
    """
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")
    chance, numbers = random.Random(seed), range(40)
    server.shorten(latency=0.5, approval=15)
    kinds = {3: "CreditCardExpired", 7: "OrderExpired"}
    dev_server, killed = await server.serve(), 0
    endings: dict[str, str] = {}

    async def customer(number: int) -> None:
        workflow_id, kind = f"order-{number}", kinds.get(number % 10, "fulfilled")
        order = new_order(workflow_id, cc_expiry="12/23" if kind == kinds[3] else "12/99")
        await asyncio.sleep(chance.uniform(0, 8))
        with suppress(WorkflowAlreadyStartedError):  # by a call whose answer was lost
            await until_answered(lambda: server.start_order(order))
        if kind == "fulfilled":
            await asyncio.sleep(chance.uniform(0, 5))
            await until_answered(
                lambda: server.handle(workflow_id).signal(OrderFulfillment.approve_order)
            )
        try:
            endings[workflow_id] = await until_answered(lambda: server.handle(workflow_id).result())
        except WorkflowFailureError as failure:
            endings[workflow_id] = str(failure.cause.__cause__ or failure.cause)
        assert kind in endings[workflow_id]

    async def kill_workers() -> None:
        nonlocal killed
        workers: list[Program] = [await server.worker(), await server.worker()]
        while len(endings) < len(numbers):
            await asyncio.sleep(chance.uniform(2, 4))
            await workers.pop(chance.randrange(2)).kill()
            killed += 1
            workers.append(await server.worker())

    async def kill_server() -> None:
        await asyncio.sleep(chance.uniform(5, 10))
        await dev_server.kill()
        await server.serve()

    async with asyncio.timeout(200), asyncio.TaskGroup() as group:
        for task in (kill_workers(), kill_server(), *map(customer, numbers)):
            group.create_task(task)
    assert killed > 3
    for number in numbers:
        history = await server.history(f"order-{number}")
        steps = {3: 0, 7: 1}.get(number % 10, 3)
        assert history.activities() == STEPS[:steps]
    keys = re.findall(r"idempotency key (\S+)", "".join(each.stderr for each in server.programs))
    assert len(set(keys)) == len(numbers) - sum(number % 10 == 3 for number in numbers)
