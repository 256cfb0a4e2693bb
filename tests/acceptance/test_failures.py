"""Orders survive workers and servers that are killed, suspended or late, at any moment."""

import asyncio
import re
import signal

from tests.acceptance.helpers import AUTHORIZING, WAITING, Sample
from tests.helpers import STEPS, start


async def test_another_worker_retries_suspended_attempt(sample: Sample) -> None:
    sample.edit("worker.py", "threads = 100", "threads = 1")  # or it may take the next attempt, too
    first = await sample.worker()
    starter, workflow_id = await sample.starter()
    await first.prints(AUTHORIZING)
    first.send(signal.SIGSTOP)
    second = await sample.worker()
    await second.prints("process_payment attempt 2 authorizing")
    await sample.event(workflow_id, "ACTIVITY_TASK_COMPLETED process_payment")
    first.send(signal.SIGCONT)
    await first.prints("Activity not found on completion")
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    assert (await sample.history(workflow_id)).activities() == STEPS


async def test_order_survives_a_late_and_a_killed_server(own_server: Sample) -> None:
    own_server.set_durations()
    starter, worker = [await own_server.script(name) for name in ("starter.py", "worker.py")]
    for script in (starter, worker):
        await script.prints("Waiting up to 30 s for localhost")
    server = await own_server.serve()
    workflow_id = (await starter.prints(r"Started workflow (\S+)"))[1]
    await worker.prints(WAITING)
    await own_server.approve(workflow_id)
    assert await starter.exits() == 0
    assert starter.stderr.count("\n") == 1

    starter, workflow_id = await own_server.waiting_order()
    await server.stop()
    server = await own_server.serve()
    await own_server.approve(workflow_id)
    assert "fulfilled" in await own_server.handle(workflow_id).result()
    assert worker.stderr.count("connect error") == 1, "the worker logged a short restart"

    stopped = await own_server.worker()
    starter, workflow_id = await own_server.waiting_order()
    await server.stop()
    assert await stopped.stop(signal.SIGTERM) == 0
    assert await starter.exits() == 1
    assert re.match(r"UN\w+: ", starter.stderr.splitlines()[-1])
    await worker.prints("connect error", times=2, seconds=20)
    await own_server.serve()
    await own_server.approve(workflow_id)
    assert "fulfilled" in await own_server.handle(workflow_id).result()


async def test_forty_orders_survive_while_workers_are_killed(sample: Sample) -> None:
    sample.set_durations(latency=0.5)
    workers = [await sample.worker(), await sample.worker()]

    async def customer(number: int) -> str:
        await asyncio.sleep(number % 9)
        handle = await start(sample.client, f"order-{number}", seconds=120)
        await asyncio.sleep(number % 5)
        await sample.approve(handle.id)
        result = await handle.result()
        assert (await sample.history(handle.id)).activities() == STEPS
        return result

    orders, killed = asyncio.gather(*map(customer, range(40))), 0
    async with asyncio.timeout(200):
        while not orders.done():
            await asyncio.sleep(3)
            await workers.pop(0).stop()
            workers.append(await sample.worker())
            killed += 1
    assert killed > 3
    assert all("fulfilled" in result for result in await orders)
