"""Orders survive workers and servers that are killed or late, and cancellations, at any moment."""

import re
import signal

from tests.acceptance.helpers import WAITING, Sample
from tests.helpers import RESULTS, read_events, start, steps


async def test_order_survives_a_late_a_killed_and_a_lost_server(own_server: Sample) -> None:
    own_server.set_latency(0.2)
    starter, worker = await own_server.script("starter.py"), await own_server.script("worker.py")
    for script in (starter, worker):
        await script.prints("Start it within 30 s")
    server = await own_server.serve()
    workflow_id = (await starter.prints(r"Started workflow (\S+)"))[1]
    await worker.prints(WAITING)
    await own_server.approve(workflow_id)
    assert await starter.exits() == 0
    assert starter.stderr.count("\n") == 1

    starter, workflow_id = await own_server.waiting_order()
    await server.stop()
    assert await starter.exits() == 1
    assert re.match(r"UN\w+: .*\n$", starter.stderr)
    await worker.prints("WARNING .*connect error", seconds=20)
    await own_server.serve()
    await own_server.approve(workflow_id)
    assert "fulfilled" in await own_server.order(workflow_id).result()


async def test_forty_orders_survive_while_workers_are_killed(sample: Sample) -> None:
    sample.set_latency(0.5)
    orders = [await start(sample.client, f"order-{number}", seconds=60) for number in range(40)]
    for order in orders:
        await sample.approve(order.id)
    for step in RESULTS:
        worker = await sample.worker()
        await worker.prints(f" {step} ", times=10)
        await worker.stop()
    worker = await sample.worker()
    await worker.prints("deliver_order attempt 2 ")
    for order in orders:
        assert "fulfilled" in await order.result()
        assert steps(await read_events(order), "COMPLETED") == list(RESULTS)


async def test_delivery_can_not_be_canceled_between_two_attempts(sample: Sample) -> None:
    sample.set_latency(0.2)
    failure = "if activity.info().attempt < 3: raise ConnectionError"
    sample.edit("activities.py", 'return "delivered"', f'{failure}\n    return "delivered"')
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints("deliver_order attempt 2 Completing activity as failed")
    await sample.order(workflow_id).cancel()  # The next attempt follows two seconds later.
    assert await starter.exits() == 0


async def test_delivery_can_not_be_canceled_after_a_shutdown(sample: Sample) -> None:
    sample.set_latency(1)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints("deliver_order delivering")
    assert await worker.stop(signal.SIGTERM) == 0
    assert "deliver_order" in steps(await read_events(sample.order(workflow_id)), "COMPLETED")
    await sample.order(workflow_id).cancel()
    await sample.worker()
    assert await starter.exits() == 0
