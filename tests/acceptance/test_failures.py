"""Orders survive killed workers and servers, and their delivery survives a cancellation."""

import re
import signal

import pytest

from tests.acceptance.helpers import WAITING, Sample
from tests.helpers import RESULTS, read_events, start, steps


async def test_order_survives_late_start_and_restart_of_server(own_server: Sample) -> None:
    own_server.set_latency(0.2)
    starter, worker = await own_server.script("starter.py"), await own_server.script("worker.py")
    for script in (starter, worker):
        await script.prints("Start the server within 30 s")
    server = await own_server.serve()
    workflow_id = (await starter.prints(r"Started workflow (\S+)"))[1]
    await worker.prints(WAITING)
    await own_server.approve(workflow_id)
    assert await starter.exits() == 0

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
    await sample.worker()
    for order in orders:
        assert "fulfilled" in await order.result()


@pytest.mark.parametrize(
    ("problem", "cancel_after"),
    [
        ("if activity.info().attempt < 2: time.sleep(7)", "deliver_order delivering"),
        ("if activity.info().attempt < 3: raise ConnectionError", "attempt 2 Completing activity"),
    ],
)
async def test_delivery_can_not_be_canceled_before_its_retry(
    sample: Sample, problem: str, cancel_after: str
) -> None:
    sample.set_latency(0.2)
    sample.edit("activities.py", 'return "delivered"', f'{problem}\n    return "delivered"')
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints(cancel_after)
    await sample.order(workflow_id).cancel()
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
